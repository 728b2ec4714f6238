//! Texts and lists from files, shortened for messages.

/// Text for an error message: at most 40 characters of it.
pub(crate) fn clip(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(200)]);
    let mut clipped: String = text.chars().take(40).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// A list for an error message: `"a", "b", … "z" (26)` if it is long.
pub(crate) fn list(names: &[String]) -> String {
    let quoted =
        |names: &[String]| names.iter().map(|n| format!("{:?}", clip(n.as_bytes()))).collect::<Vec<_>>().join(", ");
    match names {
        [] => "none".to_owned(),
        [start @ .., last] if names.len() > 12 => {
            format!("{}, … {:?} ({} in all)", quoted(&start[..8]), clip(last.as_bytes()), names.len())
        }
        _ => quoted(names),
    }
}
