//! The committed inputs, and new ones that are made of them without a fuzzer.

use std::path::{Path, PathBuf};
use std::{fs, io};

use fastrand::Rng;

/// An input longer than this isn't made. (A fuzzer's may be.)
const LONGEST: usize = 2_000;

/// The committed inputs of a target, by file name.
///
/// # Errors
/// The folder or a file in it can't be read.
pub fn corpus(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let bytes = fs::read(&path)?;
        files.push((path, bytes));
    }
    files.sort();
    Ok(files)
}

/// An input made of others: their beginnings, middles and ends behind each other, with a few bytes changed.
pub fn vary(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut made = Vec::new();
    for _ in 0..rng.usize(1..=4) {
        match rng.choice(inputs) {
            Some(input) if rng.u32(0..8) > 0 => {
                let (a, b) = (rng.usize(0..=input.len()), rng.usize(0..=input.len()));
                let start = if made.is_empty() && rng.bool() { 0 } else { a.min(b) };
                made.extend_from_slice(&input[start..a.max(b)]);
            }
            _ => made.extend((0..rng.usize(0..60)).map(|_| rng.u8(..))),
        }
    }
    for _ in 0..rng.usize(0..6) {
        if made.is_empty() {
            break;
        }
        let at = rng.usize(0..made.len());
        match rng.u32(0..4) {
            0 => made[at] = rng.u8(..),
            1 => made[at] ^= 1 << rng.u32(0..8),
            2 => made.insert(at, rng.u8(..)),
            _ => drop(made.remove(at)),
        }
    }
    made.truncate(LONGEST);
    made
}
