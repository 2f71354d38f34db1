//! The time-boxed run of every target: valid inputs, changed at random.
//!
//! Each target runs in a process of its own, which is this test again with `FUZZ_INSIDE` set. There the
//! memory that may be allocated is limited by the kernel, so that an allocation that the input's size
//! does not justify ends the process, and what never ends can be ended. (An allocator that counts would
//! need `unsafe`.)
//!
//! Inputs are a function of the seed, so a failure comes again under the seed that it printed:
//! `FUZZ_SEED` sets it, `FUZZ_SECONDS` the time for each target. `FUZZ_CORPUS` names a directory to which
//! the valid inputs are written, for cargo-fuzz to begin with.

use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::seeds::{Target, targets};

const SECONDS: u64 = 2;

/// After this long beyond its time a target hangs.
const GRACE: Duration = Duration::from_secs(60);

/// What a target may allocate beyond what the process has when it begins.
const MEMORY: u64 = 256 << 20;

/// Inputs are no longer than this, so that many can be tried.
const LONGEST: usize = 16 * 1024;

/// The variable that says which target runs inside this process.
const INSIDE: &str = "FUZZ_INSIDE";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn seconds() -> u64 {
    number("FUZZ_SECONDS").unwrap_or(SECONDS)
}

fn seed() -> u64 {
    number("FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_nanos()).unwrap_or_default()
    })
}

/// Runs the target of this test, or starts the process that does. Returns what that one said if it
/// failed.
fn fuzz(test: &str, target: Target) -> Result<(), String> {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        inside(target, seed());
        return Ok(());
    }
    let path = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{path}::{test}"), "--nocapture", "--test-threads=1"])
        .env(INSIDE, test)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.read_to_end(&mut said);
        let _ = sender.send(String::from_utf8_lossy(&said).into_owned());
    });
    // Its end closes the pipe.
    let said = receiver.recv_timeout(Duration::from_secs(seconds()) + GRACE);
    if said.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let said = said.or_else(|_| receiver.recv().map(|said| format!("{said}\nit did not end"))).unwrap();
    if status.success() { Ok(()) } else { Err(format!("{}: {status}\n{said}", target.name)) }
}

fn inside(target: Target, seed: u64) {
    // First of all, for a run that is ended from outside.
    eprintln!("{}: FUZZ_SEED={seed}", target.name);
    limit_memory();
    let end = Instant::now() + Duration::from_secs(seconds());
    let seeds = (target.seeds)();
    for input in &seeds {
        run(target, input);
    }
    let mut random = Random(seed);
    // The time is looked at each time: some inputs take long, on a busy machine above all.
    while Instant::now() < end {
        run(target, &random.changed(&seeds));
    }
}

fn write_corpus(directory: &Path, seeds: &[Vec<u8>]) {
    std::fs::create_dir_all(directory).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{number}")), seed).unwrap();
    }
}

fn run(target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!("the input was: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

#[cfg(target_os = "linux")]
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let now: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    let limit = Some(now * 1024 + MEMORY);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
}

/// Elsewhere the kernel does not keep to such a limit.
#[cfg(not(target_os = "linux"))]
fn limit_memory() {}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// A stretch of `text`, often a short one.
    fn stretch(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(text.len() + 1);
        let most = *self.one_of(&[1, 4, 16, text.len()]);
        start..(start + self.below(most + 1)).min(text.len())
    }

    /// A seed with a few changes, and now and then nothing but random bytes.
    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(32) == 0 {
            let length = self.below(64);
            return self.bytes(length);
        }
        let mut input = self.one_of(seeds).clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, seeds);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        /// Where lengths, counts and times end.
        const NUMBERS: [u64; 9] =
            [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX.cast_unsigned()];
        const TEXTS: [&[u8]; 12] = [
            b"",
            b"\0",
            b"\xff",
            b"\\",
            b"\"",
            b"{",
            b"\r\n",
            b"-1",
            b"9223372036854775808",
            b"99999999-12-31",
            b"${VALUE}",
            b"\xf0\x9f\xa6\x80",
        ];
        let range = self.stretch(input);
        let with = match self.below(8) {
            0 => self.bytes(range.len()),
            1 => Vec::new(),
            2 => {
                let number = self.one_of(&NUMBERS).to_be_bytes();
                number[*self.one_of(&[0, 4, 6, 7])..].to_vec()
            }
            3 => self.one_of(&TEXTS).to_vec(),
            4 => input[range.clone()].repeat(2 + self.below(40)),
            5 => {
                let other = self.one_of(seeds);
                other[self.stretch(other)].to_vec()
            }
            6 => input[self.stretch(input)].to_vec(),
            _ => {
                let mut one = input[range.clone()].to_vec();
                if let Some(byte) = one.first_mut() {
                    *byte ^= 1 << self.below(8);
                }
                one
            }
        };
        // In place of as many, so that what follows stays where it is, or in place of the stretch.
        let end = if self.below(2) == 0 { (range.start + with.len()).min(input.len()) } else { range.end };
        input.splice(range.start..end.max(range.start), with);
    }
}

fn fuzz_named(name: &str) {
    let target = targets().into_iter().find(|target| target.name == name).unwrap();
    if let Some(corpus) = std::env::var_os("FUZZ_CORPUS") {
        write_corpus(&Path::new(&corpus).join(name), &(target.seeds)());
    }
    if let Err(said) = fuzz(name, target) {
        panic!("{said}");
    }
}

#[test]
fn pgoutput() {
    fuzz_named("pgoutput");
}

#[test]
fn copy() {
    fuzz_named("copy");
}

#[test]
fn replies() {
    fuzz_named("replies");
}

#[test]
fn config() {
    fuzz_named("config");
}

#[test]
fn templates() {
    fuzz_named("templates");
}

#[test]
fn values() {
    fuzz_named("values");
}

#[test]
fn a_panic_is_told_with_seed_and_input() {
    let run = |input: &[u8]| assert!(input.len() < 100, "too long");
    let target = Target { name: "panics", run, seeds: || vec![b"seed".to_vec()] };
    let said = fuzz("a_panic_is_told_with_seed_and_input", target).unwrap_err();
    for expected in ["panics: FUZZ_SEED=", "too long", "the input was: b\""] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_large_allocation_is_told() {
    let run = |_: &[u8]| {
        std::hint::black_box(Vec::<u8>::with_capacity(1 << 30));
    };
    let target = Target { name: "allocates", run, seeds: || vec![b"seed".to_vec()] };
    let said = fuzz("a_large_allocation_is_told", target).unwrap_err();
    assert!(said.contains("memory allocation of 1073741824 bytes failed"), "{said}");
}

#[test]
fn the_same_seed_gives_the_same_inputs() {
    let seeds = (targets()[0].seeds)();
    let inputs = |seed| {
        let mut random = Random(seed);
        (0..100).map(|_| random.changed(&seeds)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
}
