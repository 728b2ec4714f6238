//! Thousands of damaged checkpoints: no panic, little memory, no long wait.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use evenkeel::interchange::{note, resume, state_dict, tensors};
use evenkeel::{Mlp, text};

use crate::files::golden;
use crate::runs::signed;

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
        (self.next() >> 16) as usize % n.max(1)
    }
}

/// Words that mean something in a header.
const WORDS: [&str; 16] = [
    "\"F32\"",
    "\"F16\"",
    "\"I64\"",
    "\"BOOL\"",
    "18446744073709551615",
    "4294967296",
    "-1",
    "0",
    "null",
    "[",
    "]",
    "{",
    "}",
    "\"shape\":[1048576,1048576]",
    "__metadata__",
    "evenkeel.net",
];

/// A few changes: bits, bytes, runs of bytes, lengths, words in the header, cuts, repeats.
fn havoc(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Most of what can go wrong lies in the header.
        let reach = if random.below(4) > 0 { bytes.len().min(2000) } else { bytes.len() };
        let at = random.below(reach);
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => (bytes[at..].iter_mut().take(random.below(1000))).for_each(|byte| *byte = random.next() as u8),
            4 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            6 => {
                let word = WORDS[random.below(WORDS.len())].bytes();
                let end = (at + random.below(8)).min(bytes.len());
                bytes.splice(at..end, word);
            }
            7 => {
                let digits = bytes.iter().take(2000).enumerate().filter(|(_, byte)| byte.is_ascii_digit());
                let digits: Vec<usize> = digits.map(|(at, _)| at).collect();
                if !digits.is_empty() {
                    bytes[digits[random.below(digits.len())]] = b'0' + random.below(10) as u8;
                }
            }
            _ => {
                let len = random.next() >> random.below(64);
                bytes.splice(0..8.min(bytes.len()), len.to_le_bytes());
            }
        }
    }
}

/// The header's length made right again, so that damage lies deeper.
fn with_length(bytes: &mut [u8], data: usize) {
    if let Some(len) = bytes.len().checked_sub(8 + data) {
        bytes[..8].copy_from_slice(&(len as u64).to_le_bytes());
    }
}

#[test]
fn damaged_checkpoints() {
    let torch = "dense(33) bn relu dropout(0.3) dense(17) bn tanh dense(5)";
    let run = crate::runs::run();
    let seeds = [
        (golden("mlp_bn.safetensors"), torch, 20),
        (golden("fold_gelu.safetensors"), "dense(21) bn gelu dense(3)", 7),
        (state_dict::to_bytes_with(&run.model, "a note").unwrap(), "", 3),
        (resume::to_bytes(&run).unwrap(), "", 3),
    ];
    let ours = text::print(run.model.layers());
    let files: usize = std::env::var("EVENKEEL_HOSTILE_FILES").ok().and_then(|n| n.parse().ok()).unwrap_or(12_000);
    let mut random = Random(2024);
    let (mut read, mut refused, mut slowest, mut worst) = (0, 0, Duration::ZERO, 0);
    for index in 0..files {
        let (sound, net, inputs) = &seeds[index % seeds.len()];
        let net = if net.is_empty() { &ours } else { *net };
        let mut file = sound.clone();
        let data = sound.len() - crate::files::split(sound).0.len() - 8;
        havoc(&mut file, &mut random);
        if index % 2 == 0 && file.len() > 8 {
            with_length(&mut file, data);
        }
        // Every third with the checksum that belongs to it, or only the checksum would ever be tested.
        if index % 3 == 0 && file.windows(26).any(|window| window.starts_with(b"\"evenkeel.crc32\":\"")) {
            file = signed(&file);
        }
        let mut model = Mlp::new(*inputs, text::parse(net).unwrap()).unwrap();
        let before = NOW.with(Cell::get);
        PEAK.with(|peak| peak.set(before));
        let start = Instant::now();
        let results = [
            state_dict::load(&mut model, &file).err(),
            state_dict::read(&file).err(),
            resume::read(&file).err(),
            tensors(&file).err(),
            note(&file).err(),
            state_dict::input_width(&file, model.layers()).err(),
        ];
        slowest = slowest.max(start.elapsed());
        let peak = PEAK.with(Cell::get) - before;
        worst = worst.max(peak);
        assert!(peak <= (1 << 20) + 4 * file.len(), "{peak} bytes held for a file of {}", file.len());
        let errors: Vec<String> = results.iter().flatten().map(ToString::to_string).collect();
        assert!(errors.iter().all(|error| error.len() < 2500 && !error.contains('\n')), "{errors:?}");
        *(if results[0].is_none() { &mut read } else { &mut refused }) += 1;
        if results[0].is_none() {
            assert!(model.params.iter().chain(model.state.iter()).all(|value| value.is_finite()));
        }
    }
    println!(
        "{files} checkpoints: {read} read, {refused} refused, 0 panics, at most {worst} bytes held, slowest {slowest:?}"
    );
    assert!(read > files / 50 && refused > files / 2, "the edits are too harsh or too mild to test much");
    assert!(slowest < Duration::from_millis(500));
}
