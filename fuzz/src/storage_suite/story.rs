//! What is done to a storage, step by step.

use fastrand::Rng;

/// One thing that is done.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(Write),
    /// A snapshot of the application's own, so far behind the commit index.
    SaveSnapshot {
        behind: u64,
    },
    /// What the latest snapshot covers may be dropped, but for so many entries.
    Compact {
        keep: u64,
    },
    Sync,
    Crash,
    /// A crash in the midst of a write.
    CrashWhileWriting(Write),
}

/// What a `Ready` asks for. The twin makes of it what a node would write.
#[derive(Clone, Debug, Default)]
pub(super) struct Write {
    /// A snapshot from a leader, so far ahead of the commit index.
    pub(super) receive_ahead: Option<u64>,
    pub(super) append: Option<Append>,
    /// A vote in a new term.
    pub(super) new_term: bool,
    /// How much of what isn't committed is from now on.
    pub(super) commit_percent: u64,
    /// Data that was acknowledged is found to be lost, or to be there again.
    pub(super) loses: Option<bool>,
}

/// Entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Append {
    /// So many are replaced, as far as they aren't committed.
    pub(super) back: u64,
    pub(super) count: u64,
    /// The bytes of each.
    pub(super) size: usize,
    /// Not only commands.
    pub(super) all_kinds: bool,
}

const SYNC: Step = Step::Sync;
const CRASH: Step = Step::Crash;

fn append(count: u64) -> Step {
    append_of(Append { count, size: 10, ..Append::default() })
}

fn append_of(append: Append) -> Step {
    Step::Write(Write { append: Some(append), ..Write::default() })
}

fn replace(back: u64, count: u64) -> Step {
    append_of(Append { back, count, size: 10, ..Append::default() })
}

fn sized(count: u64, size: usize) -> Step {
    append_of(Append { count, size, ..Append::default() })
}

fn commit(commit_percent: u64) -> Step {
    Step::Write(Write { commit_percent, ..Write::default() })
}

fn vote() -> Step {
    Step::Write(Write { new_term: true, ..Write::default() })
}

fn data_loss(loses: bool) -> Step {
    Step::Write(Write { loses: Some(loses), ..Write::default() })
}

fn torn(count: u64, new_term: bool) -> Step {
    let append = Append { back: 1, count, size: 500, ..Append::default() };
    Step::CrashWhileWriting(Write { append: Some(append), new_term, ..Write::default() })
}

fn receive(ahead: u64, entries: u64) -> Step {
    let append = (entries > 0).then(|| Append { count: entries, size: 10, ..Append::default() });
    Step::Write(Write { receive_ahead: Some(ahead), append, ..Write::default() })
}

fn save(behind: u64) -> Step {
    Step::SaveSnapshot { behind }
}

fn compact(keep: u64) -> Step {
    Step::Compact { keep }
}

/// The stories, each with what it is about.
pub(super) fn stories() -> Vec<(&'static str, Vec<Step>)> {
    let everything = Append { count: 14, all_kinds: true, size: 10, ..Append::default() };
    vec![
        ("an empty log", vec![CRASH, SYNC, CRASH]),
        (
            "entries that are appended and synced",
            vec![append(3), append(2), SYNC, CRASH, append(1), SYNC, CRASH],
        ),
        ("entries of every kind", vec![append_of(everything), SYNC, CRASH]),
        (
            "entries of all sizes",
            vec![sized(3, 1), sized(2, 127), sized(2, 300), sized(1, 70_000), sized(3, 20)],
        ),
        (
            "large entries",
            vec![sized(1, 3 << 20), sized(2, 1 << 20), SYNC, CRASH, replace(2, 1), SYNC, CRASH],
        ),
        (
            "a suffix is replaced by a shorter, an equal and a longer one",
            vec![append(8), SYNC, replace(5, 2), replace(2, 2), SYNC, CRASH, replace(3, 7), SYNC, CRASH],
        ),
        ("everything is replaced", vec![append(4), replace(4, 1), SYNC, CRASH, replace(1, 6)]),
        (
            "votes and commit indexes",
            vec![vote(), SYNC, CRASH, append(4), commit(50), vote(), SYNC, commit(100), CRASH],
        ),
        (
            "data is lost, and there again",
            vec![
                append(2),
                data_loss(true),
                SYNC,
                CRASH,
                data_loss(true),
                append(1),
                CRASH,
                data_loss(false),
                SYNC,
                CRASH,
            ],
        ),
        (
            "writes that aren't synced",
            vec![append(2), SYNC, append(2), vote(), replace(1, 3), commit(100), CRASH, append(1), CRASH],
        ),
        (
            "writes in the midst of which it crashes",
            vec![append(3), SYNC, torn(4, true), append(1), SYNC, torn(30, false), torn(1, true), CRASH],
        ),
        (
            "compaction behind snapshots of its own",
            vec![
                append(9),
                commit(70),
                save(2),
                compact(2),
                SYNC,
                CRASH,
                compact(0),
                SYNC,
                CRASH,
                commit(100),
                save(0),
            ],
        ),
        (
            "everything is compacted away",
            vec![append(5), commit(100), save(0), compact(0), SYNC, CRASH, append(2), SYNC, CRASH],
        ),
        (
            "a snapshot is received into an empty log",
            vec![receive(10, 0), SYNC, CRASH, append(3), SYNC, CRASH],
        ),
        (
            "a snapshot is received that ends a longer log",
            vec![append(12), commit(20), SYNC, receive(3, 0), SYNC, CRASH, append(2), SYNC, CRASH],
        ),
        (
            "a snapshot is received with entries behind it",
            vec![append(3), receive(20, 4), SYNC, CRASH, receive(2, 1), CRASH],
        ),
        (
            "a snapshot is received and isn't synced",
            vec![append(6), commit(50), SYNC, receive(30, 2), append(2), CRASH, append(1), SYNC, CRASH],
        ),
        (
            "suffixes are replaced right behind a compacted log",
            vec![append(6), commit(50), save(0), compact(0), SYNC, replace(3, 1), SYNC, replace(1, 5), CRASH],
        ),
    ]
}

/// Anything in any order.
pub(super) fn random_story(seed: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    (0..rng.usize(5..40)).map(|_| random_step(&mut rng)).collect()
}

fn random_step(rng: &mut Rng) -> Step {
    match rng.u32(0..20) {
        0..11 => Step::Write(random_write(rng)),
        11..13 => save(rng.u64(0..3)),
        13 | 14 => compact(rng.u64(0..4)),
        15..18 => SYNC,
        18 => Step::CrashWhileWriting(random_write(rng)),
        _ => CRASH,
    }
}

fn random_write(rng: &mut Rng) -> Write {
    Write {
        receive_ahead: (rng.u32(0..12) == 0).then(|| rng.u64(1..15)),
        append: (rng.u32(0..5) > 0).then(|| Append {
            back: if rng.bool() { 0 } else { rng.u64(0..6) },
            count: rng.u64(1..6),
            size: [0, 5, 40, 200, 5_000][rng.usize(0..5)],
            all_kinds: rng.bool(),
        }),
        new_term: rng.u32(0..5) == 0,
        commit_percent: [0, 0, 50, 100][rng.usize(0..4)],
        loses: (rng.u32(0..10) == 0).then(|| rng.bool()),
    }
}
