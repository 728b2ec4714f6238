//! Which exercise is this person doing? A network recognises the motion of a wrist; then its last layer learns how a new
//! wearer moves, on the device.
//!
//! The samples come from `wearer.csv` by semihosting, where a product would read its sensor.
#![no_std]
#![no_main]

mod head;
mod motion;
mod wearer;

use core::fmt;

use evenkeel::infer::Single;
use evenkeel::{Image, Level};
use head::{HIDDEN, Head};
use semihosting::{println, process};
use wearer::Wearer;

const IMAGE: Image<'static> = motion::image::IMAGE;
/// The layers before the last: they stay as they are, in flash.
const FRONT_IMAGE: Image<'static> = match IMAGE.front(IMAGE.op_count() - 1) {
    Ok(front) => front,
    Err(_) => panic!("the image has no layers"),
};
const FRONT: Single<'static, { FRONT_IMAGE.uses() }> = match Single::new(FRONT_IMAGE) {
    Ok(front) => front,
    Err(_) => panic!("the front has operations that it does not name"),
};

/// Windows at the start of each recording that the wearer labels, and that the device learns from: ten seconds.
const LABELLED: usize = 8;
/// Rows to learn from: fourteen recordings.
const MOST: usize = 14 * LABELLED;
const EPOCHS: u32 = 60;

/// What went wrong, in words.
#[derive(Debug)]
pub(crate) enum Problem {
    Evenkeel(evenkeel::Error),
    Wearer { line: usize, what: &'static str },
    Head(&'static str),
}

impl From<evenkeel::Error> for Problem {
    fn from(error: evenkeel::Error) -> Self {
        Problem::Evenkeel(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Evenkeel(error) => error.fmt(f),
            Problem::Wearer { line, what } => write!(f, "wearer.csv, line {line}: {what}"),
            Problem::Head(what) => f.write_str(what),
        }
    }
}

/// How many of how many.
#[derive(Default)]
struct Hits {
    right: usize,
    rows: usize,
}

impl Hits {
    fn count(&mut self, class: usize, label: usize) {
        self.right += usize::from(class == label);
        self.rows += 1;
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.right as f32 / self.rows.max(1) as f32;
        write!(f, "{share:.2} % ({} of {})", self.right, self.rows)
    }
}

fn run() -> Result<(), Problem> {
    let level = Level::detect();
    let mut scratch = [0.0; motion::SCRATCH];
    let (mut features, mut labels, mut count) = ([[0.0; HIDDEN]; MOST], [0; MOST], 0);
    let mut memory = head::Memory::new();
    let mut head = Head::new(&mut memory, level)?;

    // First round: say the class of each sample. Keep what the front makes of the labelled ones.
    let mut before = Hits::default();
    let mut wearer = Wearer::open()?;
    while let Some(sample) = wearer.next()? {
        let outputs = motion::run(&sample.values, &mut scratch);
        let class = motion::class(&outputs);
        let (says, label) = (motion::CLASSES[class], motion::CLASSES[sample.label]);
        println!("sample {}: class {says}{}", sample.number, if says == label { "" } else { ", wrong" });
        let mut hidden = [0.0; HIDDEN];
        FRONT.infer(level, &sample.values, &mut hidden, &mut scratch)?;
        // Before it has learnt anything the head is the image's last layer, to the bit.
        if head.outputs(&hidden)?.map(f32::to_bits) != outputs.map(f32::to_bits) {
            return Err(Problem::Head("front and head do not give the bits of the whole network"));
        }
        if sample.position < LABELLED && count < MOST {
            (features[count], labels[count]) = (hidden, sample.label as u32);
            count += 1;
        } else if sample.position > LABELLED {
            before.count(class, sample.label);
        }
    }

    let (features, labels) = (&features[..count], &labels[..count]);
    let first = head.loss(features, labels)?;
    for epoch in 0..EPOCHS {
        head.epoch(epoch, features, labels)?;
    }
    let last = head.loss(features, labels)?;
    println!("learnt from {count} labelled samples: loss {first:.3} -> {last:.3}");

    // Second round: the samples that were not learnt from, nor overlap with one that was.
    let mut after = Hits::default();
    let mut wearer = Wearer::open()?;
    while let Some(sample) = wearer.next()? {
        if sample.position > LABELLED {
            let mut hidden = [0.0; HIDDEN];
            FRONT.infer(level, &sample.values, &mut hidden, &mut scratch)?;
            after.count(motion::class(&head.outputs(&hidden)?), sample.label);
        }
    }
    println!("accuracy before: {before}");
    println!("accuracy after:  {after}");
    Ok(())
}

#[cortex_m_rt::entry]
fn main() -> ! {
    match run() {
        Ok(()) => process::exit(0),
        Err(problem) => {
            println!("{problem}");
            process::exit(1)
        }
    }
}

/// A fault must end the program, not hang the emulator.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    println!("hard fault at {:#x}", frame.pc());
    process::exit(1)
}
