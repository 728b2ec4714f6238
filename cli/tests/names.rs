//! Options, commands and metrics that `docs/names.md` names are there.

mod common;

use std::collections::BTreeSet;

use common::{ok, run};

#[test]
fn options_of_the_names() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/names.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let commands: BTreeSet<&str> =
        page.split("`evenkeel ").skip(1).filter_map(|rest| rest.split([' ', '`']).next()).collect();
    let mut help = String::new();
    for command in commands.iter().chain(&["train", "eval"]) {
        help.push_str(&ok(dir.path(), &[command, "--help"]));
    }
    let (mut options, mut metrics) = (BTreeSet::new(), BTreeSet::new());
    for words in page.split('`').skip(1).step_by(2).map(|token| token.split(' ')) {
        options.extend(words.filter(|word| word.starts_with("--")));
    }
    let known: BTreeSet<&str> =
        help.split(|c: char| c.is_whitespace() || c == ',').filter(|word| word.starts_with("--")).collect();
    for option in &options {
        assert!(known.contains(option), "{option} is in docs/names.md, but no command has it");
    }
    // A name that there is not is answered with all that there are.
    let said = run(dir.path(), &["eval", "run", "--metrics", "unheard-of"]).err;
    for name in page.split("[`").skip(1).filter_map(|rest| rest.split('`').next()) {
        let name = if name.starts_with("top-") { "top-K" } else { name };
        assert!(said.contains(&format!(" {name}")), "eval has no metric {name}: {said}");
        metrics.insert(name);
    }
    println!("{} options of {} commands, {} metrics", options.len(), commands.len(), metrics.len());
    assert!(options.len() > 30 && commands.len() > 5 && metrics.len() > 8);
}
