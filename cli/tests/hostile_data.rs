//! Thousands of damaged data files: no panic, no absurd allocation, no long wait.

use evenkeel_cli::data::{Categorical, Missing, Options, RowFilter, TargetColumn, Task, npy_f32, read_bytes};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

/// Counts what a thread holds and the most it ever held.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(plus: usize, minus: usize) {
    // While a thread is torn down its counters are gone; what it frees then is of no interest.
    let _ = NOW.try_with(|now| {
        now.set((now.get() + plus).saturating_sub(minus));
        PEAK.with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: every call goes unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's duties are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's duties are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller's duties are passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Xorshift: the files are the same on every machine and every day.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn npz(method: zip::CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, values) in [("x.npy", vec![0.5; 30]), ("y.npy", vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0])] {
        zip.start_file(name, zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(&npy_f32(&values, values.len() / 6)).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut csv = String::from("\u{feff}subject,\"a, b\",c,label\r\n");
    (0..40).for_each(|i| csv.push_str(&format!("{},{}.25,-{i}e-1,{}\r\n", i / 10, i, i % 3)));
    let words: String = (0..30).map(|i| format!("{i};\"x{}\"\n", i % 4)).collect();
    let fortran = {
        let mut file = npy_f32(&[1.0; 24], 6);
        let at = file.windows(5).position(|w| w == b"False").unwrap();
        file[at..at + 5].copy_from_slice(b"True ");
        file
    };
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 24]].concat();
    let [stored, deflated] = [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated].map(npz);
    vec![csv.into_bytes(), words.into_bytes(), npy_f32(&[0.5; 30], 5), fortran, idx, stored, deflated]
}

/// Up to eight edits of the kinds that break parsers.
fn havoc(file: &mut Vec<u8>, random: &mut Random) {
    const TOKENS: [&[u8]; 19] = [
        b"\"",
        b",",
        b"\n",
        b"\r\n",
        b";",
        b"nan",
        b"1e999",
        b"\x93NUMPY",
        b"\x00\x00\x08\x03",
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04",
        b"NA",
        b"(9999999999, 2)",
        b"-",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"'|O'",
        b"\xc3",
    ];
    // Mostly one edit: a file with many is refused at the first, and the rest of the reader is never reached.
    let edits = if random.below(3) == 0 { 1 + random.below(8) } else { 1 };
    for _ in 0..edits {
        let at = random.below(file.len());
        match random.below(7) {
            0 if !file.is_empty() => file[at] ^= 1 << random.below(8),
            1 if !file.is_empty() => file[at] = random.next() as u8,
            2 => file.truncate(at),
            3 => {
                let token = TOKENS[random.below(TOKENS.len())];
                file.splice(at..at, token.iter().copied());
            }
            4 => {
                let token = TOKENS[random.below(TOKENS.len())];
                let end = (at + token.len()).min(file.len());
                file.splice(at..end, token.iter().copied());
            }
            5 => {
                let end = at + random.below(file.len() - at);
                let piece = file[at..end].to_vec();
                file.extend(piece);
            }
            _ => {
                let end = at + random.below((file.len() - at).min(20));
                file.drain(at..end);
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_or_read_in_bounds() {
    let filter = |text: &str| vec![text.parse::<RowFilter>().unwrap()];
    let all = [
        Options::default(),
        Options { task: Task::Classes, ignore: vec!["1".into()], allow_nonfinite: true, ..Options::default() },
        Options { task: Task::Values, target: TargetColumn::Columns(vec!["last".into()]), ..Options::default() },
        Options { filters: filter("row=1..9"), group: Some("1".into()), ..Options::default() },
        Options {
            classes: Some(vec!["0".into(), "1".into()]),
            features: Some(vec!["1".into(), "2".into()]),
            ..Options::default()
        },
        Options { categorical: Categorical::Auto, missing: Missing::Median, ..Options::default() },
        Options { missing: Missing::Drop, missing_as: vec!["0.5".into()], ..Options::default() },
    ];
    let seeds = seeds();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut read, mut refused, mut worst, mut slowest) = (0, 0, 0, Duration::ZERO);
    let files: usize = std::env::var("EVENKEEL_HOSTILE_FILES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    for i in 0..files {
        let mut file = seeds[i % seeds.len()].clone();
        havoc(&mut file, &mut random);
        // Some are damaged inside the packing, or only the packing's own checksum would ever be tested; some around it too.
        if i % 4 < 2 {
            file = if i % 4 == 0 { gz(&file) } else { zst(&file) };
            if i % 3 == 0 {
                havoc(&mut file, &mut random);
            }
        }
        let labels = (i % 5 == 0).then(|| {
            let mut labels = seeds[random.below(seeds.len())].clone();
            havoc(&mut labels, &mut random);
            labels
        });
        let options = &all[random.below(all.len())];
        let before = NOW.with(Cell::get);
        PEAK.with(|peak| peak.set(before));
        let start = Instant::now();
        let result = read_bytes("hostile", &file, labels.as_deref(), options);
        slowest = slowest.max(start.elapsed());
        let peak = PEAK.with(Cell::get) - before;
        match result {
            Ok(table) => {
                assert_eq!(table.inputs.len(), table.rows * table.cols);
                read += 1;
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("hostile") || message.contains("labels"), "no file named: {message}");
                assert!(message.len() < 1500, "a message of {} bytes", message.len());
                refused += 1;
            }
        }
        let size = file.len() + labels.map_or(0, |l| l.len());
        // A zstd file may ask for a window of 8 MiB, and two are held while one grows.
        let window = if file.windows(4).any(|word| word == b"\x28\xb5\x2f\xfd") { 18 << 20 } else { 0 };
        assert!(peak <= (1 << 20) + 2 * size + window, "{peak} bytes held for a file of {size}");
        worst = worst.max(peak.saturating_sub(window));
    }
    println!("{files} files: {read} read, {refused} refused, 0 panics, most memory {worst} bytes, slowest {slowest:?}");
    assert!(read > files / 20 && refused > files / 4, "the edits are too harsh or too mild to test much");
    assert!(slowest < Duration::from_secs(2));
}

#[test]
fn large_files_take_little_more_than_their_size() {
    let text = format!("a,b,c,label\n{}", "0,0,0,1\n".repeat(500_000));
    // Names and their index cost most: the number of columns is limited for that.
    let wide = format!("{}1\n", "1,".repeat(200_000));
    let array = npy_f32(&vec![1.0; 1_000_000], 100);
    for (file, times) in [(text.into_bytes(), 4), (wide.into_bytes(), 60), (array, 2)] {
        let before = NOW.with(Cell::get);
        PEAK.with(|peak| peak.set(before));
        let table = read_bytes("large", &file, None, &Options::default()).unwrap();
        assert!(table.inputs.capacity() <= table.inputs.len() / 8 * 9 + 9);
        let peak = PEAK.with(Cell::get) - before;
        println!("{} bytes of file: at most {peak} bytes held", file.len());
        assert!(peak <= (1 << 20) + times * file.len(), "{peak} for {}", file.len());
    }
}
