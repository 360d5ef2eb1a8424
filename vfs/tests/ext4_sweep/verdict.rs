//! What e2fsck says of an image, in a form that can be compared before and after an edit.

use crate::dir;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where `needs_recovery` is: a byte of the incompatible features.
const INCOMPAT: usize = 1024 + 0x60;
const RECOVER: u8 = 4;
/// How long e2fsck may take; it takes milliseconds.
const E2FSCK_SECONDS: &str = "10";
/// The status of timeout(1) where the time was up.
const TIMED_OUT: i32 = 124;
/// What e2fsck says when it gives up.
const ABORTED: &str = "e2fsck: aborted";

/// The problems of an image, each with how often it is there.
#[derive(Debug, Default)]
pub struct Problems {
    found: BTreeMap<String, usize>,
    /// Blocks that no file had, and that e2fsck gave to the copy of one that shared its own, so that it says of them no
    /// more than that; where it mended.
    lent: BTreeSet<u64>,
    /// The inodes that the blocks name that more than one file has, were they blocks of directories.
    named: BTreeMap<u64, BTreeSet<u32>>,
}

/// What e2fsck says of an image before an edit and after it.
///
/// It only looks, unless it gives up on one of the two for that; then it mends copies, and tells more on its way. A
/// journal that is to be replayed it replays first.
pub fn compare(scratch: &Path, before: &[u8], after: &[u8]) -> [Problems; 2] {
    let replays = before[INCOMPAT] & RECOVER != 0;
    let look = |bytes: &[u8], how| {
        std::fs::write(scratch, bytes).unwrap();
        // Without -f, with which it would also check, and mend.
        let replay = if replays { e2fsck(scratch, &["-y", "-E", "journal_only"]) } else { String::new() };
        let damaged = std::fs::read(scratch).unwrap();
        let mut problems = parse(&(replay + &e2fsck(scratch, &[how])));
        for block in problems.shared().into_values().flatten() {
            problems.named.insert(block, dir::named_inodes(&damaged, block));
        }
        if problems.found.contains_key("Clone multiply-claimed blocks? yes") {
            let inodes: BTreeSet<u32> = problems.shared().into_keys().collect();
            let after = dir::blocks(scratch, &inodes);
            std::fs::write(scratch, &damaged).unwrap();
            problems.lent = &after - &dir::blocks(scratch, &inodes);
        }
        problems
    };
    let looked = [before, after].map(|bytes| look(bytes, "-fn"));
    if looked.iter().any(Problems::aborted) { [before, after].map(|bytes| look(bytes, "-fy")) } else { looked }
}

fn e2fsck(image: &Path, words: &[&str]) -> String {
    // On some damage it never ends, or crashes.
    let mut command = Command::new("timeout");
    command
        .args([E2FSCK_SECONDS, "e2fsck"])
        .env("PATH", crate::oracle::path_with_sbin())
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    // With blocks of 1 KiB by the superblock that we use, and no copy of it.
    let mut log_block_size = [0; 4];
    let _ = std::fs::File::open(image).and_then(|image| image.read_exact_at(&mut log_block_size, 1024 + 0x18));
    if log_block_size == [0; 4] {
        command.args(["-b", "1", "-B", "1024"]);
    }
    let output = command.args(words).arg(image).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(TIMED_OUT) || text.contains("Signal (") {
        return ABORTED.into();
    }
    text.replace(&*image.to_string_lossy(), "IMAGE")
}

impl Problems {
    /// What is here and not, or not so often, in `before`; a count that was off by more is not counted.
    pub fn beyond(&self, before: &Self) -> Vec<&str> {
        let known = |problem: &str| before.found.get(problem).copied().unwrap_or(0);
        let nearer = |problem: &str| {
            off_by(problem).is_some_and(|(what, by)| {
                let known = before.found.keys().filter_map(|known| off_by(known)).find(|(known, _)| *known == what);
                known.is_some_and(|(_, known)| by.signum() == known.signum() && by.abs() < known.abs())
            })
        };
        let worse = self.found.iter().filter(|(problem, count)| **count > known(problem) && !nearer(problem));
        worse.map(|(problem, _)| &**problem).collect()
    }

    /// Whether all that is new `after` comes of what was wrong already, in a way that nobody can know of who does not
    /// read every inode and every directory:
    ///
    /// * a block was given away that a damaged file names and no bitmap has, or taken from one of two that name it;
    /// * a new file took the inode that a wrong name led to;
    /// * a file lost the last name that there is, and had counted more or fewer of them;
    /// * a damaged file has metadata for its own map, which is another map after every change of that;
    /// * a quota file that did not agree with what is used does not agree;
    /// * two directories have one block, of which only one is asked: what changes in it changes in both, and whoever is
    ///   named there is named twice;
    /// * blocks that are marked and no file's were so before, and e2fsck, which mends, gave them to a copy the first time.
    ///
    /// Blocks in `own`, where no file has any, are never given away.
    pub fn explain(&self, after: &Self, own: &BTreeSet<u64>) -> bool {
        let knew = |words: &str| self.found.keys().any(|problem| problem.contains(words));
        if self.aborted() || knew("conflicts with critical metadata") {
            return true;
        }
        let quota = knew("Update quota info");
        let contested: BTreeSet<u64> = self.found.keys().flat_map(|problem| named_blocks(problem)).collect();
        let contested: BTreeSet<u64> = contested.into_iter().filter(|block| !own.contains(block)).collect();
        after.beyond(self).into_iter().all(|problem| {
            if self.doubles(after, problem) {
                return true;
            }
            let blocks = named_blocks(problem);
            if !blocks.is_empty() {
                return blocks.is_subset(&contested);
            }
            let inode =
                [("Unattached ", "inode "), ("Entry ", "has deleted/ inode ")].iter().find_map(|(start, word)| {
                    problem
                        .starts_with(start)
                        .then(|| problem.rsplit_once(word).map(|(_, inode)| inode.trim_end_matches('.')))?
                });
            if let Some(inode) = inode {
                return knew(&format!("node {inode} ref count is "));
            }
            if let Some((inode, _)) = problem.strip_prefix("Inode ").and_then(|rest| rest.split_once(" ref count is "))
            {
                return knew(&format!("has deleted/ inode {inode}."));
            }
            if problem.starts_with("[QUOTA WARNING]") || problem.starts_with("[ERROR]") && problem.contains("quota") {
                return quota;
            }
            if let Some(block) = problem.strip_prefix("Block bitmap -").and_then(|block| block.parse().ok()) {
                return self.lent.contains(&block);
            }
            if let Some((name, _)) = problem.strip_prefix("Duplicate entry '").and_then(|rest| rest.split_once("' ")) {
                return knew(&format!("'{name}' "));
            }
            CONSEQUENCES.iter().any(|consequence| problem.starts_with(consequence))
        })
    }

    /// Whether a problem is that an inode is named twice, by one block that was that of two directories before.
    fn doubles(&self, after: &Self, problem: &str) -> bool {
        let inode = match problem.strip_prefix("Inode ").and_then(|rest| rest.split_once(" ref count is by -")) {
            Some((inode, _)) => inode,
            // Entry 'many' in / (11) is a link to directory / (21).
            None if problem.starts_with("Entry '") && problem.contains(" is a link to directory ") => {
                problem.rsplit_once('(').map_or("", |(_, inode)| inode.trim_end_matches(")."))
            }
            None => return false,
        };
        let Ok(inode) = inode.parse() else { return false };
        let shared = self.shared();
        shared.iter().any(|(directory, blocks)| {
            let other = |block: &u64| shared.iter().any(|(other, blocks)| other != directory && blocks.contains(block));
            let first = ["Invalid inode number for '.'", "Missing '.'"];
            first.iter().any(|what| self.found.contains_key(&format!("{what} in directory inode {directory}.")))
                && blocks.iter().filter(|block| other(block)).any(|block| {
                    [self, after].iter().any(|it| it.named.get(block).is_some_and(|named| named.contains(&inode)))
                })
        })
    }

    /// By inode, the blocks that it has and another too.
    fn shared(&self) -> BTreeMap<u32, BTreeSet<u64>> {
        let mut shared = BTreeMap::<_, BTreeSet<u64>>::new();
        for problem in self.found.keys() {
            let rest =
                problem.strip_prefix("Multiply-claimed block(s) in inode ").and_then(|rest| rest.split_once(':'));
            if let Some((inode, list)) = rest.and_then(|(inode, list)| Some((inode.parse().ok()?, list))) {
                shared.entry(inode).or_default().extend(list.split_whitespace().flat_map(range));
            }
        }
        shared
    }

    /// Whether e2fsck gave up.
    pub fn aborted(&self) -> bool {
        self.found.contains_key(ABORTED)
    }
}

/// How lines begin that say no more than the line with the blocks or the inode.
const CONSEQUENCES: &[&str] = &[
    "(There are ",
    "/ (inode ",
    "Clear? ",
    "<The journal inode> (inode ",
    "Clone multiply-claimed blocks",
    "Connect to /",
    "Delete file",
    "File / (inode ",
    "File <The journal inode> (inode ",
    "Fix? ",
    "Running additional passes",
    "has ",
];

/// A count that is wrong, and by how much.
fn off_by(problem: &str) -> Option<(&str, i128)> {
    let (what, by) = problem.split_once(" by ")?;
    Some((what, by.trim_end_matches("Fix? no").trim().parse().ok()?))
}

/// The blocks that a file names, and that are free or another's too.
fn named_blocks(problem: &str) -> BTreeSet<u64> {
    let list = match problem.strip_prefix("Block bitmap +") {
        Some(block) => block,
        None if problem.starts_with("Multiply-claimed block(s) in inode ") => {
            problem.split_once(": ").map_or("", |(_, list)| list)
        }
        None => "",
    };
    list.split_whitespace().flat_map(range).collect()
}

/// What is in the lines that are no problem.
const SUMMARIES: &[&str] =
    &["% non-contiguous), ", "Filesystem still has errors", "FILE SYSTEM WAS MODIFIED", "recovering journal"];

fn parse(text: &str) -> Problems {
    let mut problems = Problems::default();
    for line in text.lines() {
        let line = line.trim();
        let skipped = line.is_empty()
            || line.starts_with("e2fsck 1.")
            || line.starts_with("Pass ")
            || SUMMARIES.iter().any(|summary| line.contains(summary));
        if skipped {
            continue;
        }
        for problem in normal(line) {
            *problems.found.entry(problem).or_default() += 1;
        }
    }
    problems
}

/// A line of e2fsck without what an edit may change of a problem that stays the same: counts as their difference, paths
/// without names, and each block of a list by itself.
fn normal(line: &str) -> BTreeSet<String> {
    let line = strip_question(line);
    if let Some((what, list)) = line.split_once("differences:") {
        return list.split_whitespace().flat_map(|item| items(what, item)).collect();
    }
    if let Some((what, usage)) = line.split_once(":actual (") {
        // [QUOTA WARNING] Usage inconsistent for ID 0:actual (1024, 1) != expected (0, 1)
        let numbers: Vec<i128> =
            usage.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
        if let [bytes, inodes, bytes_kept, inodes_kept] = numbers[..] {
            return [format!("{what} by {} {}", bytes - bytes_kept, inodes - inodes_kept)].into();
        }
    }
    if let Some((what, _)) = line.split_once(", mod time ") {
        return normal(what);
    }
    if let Some((what, _)) = line.split_once(" is <The NULL inode> (0), should be ") {
        return normal(what);
    }
    let words: Vec<&str> = line.split(' ').collect();
    let mut out = String::new();
    let number = |word: &str| word.trim_matches(|c: char| !c.is_ascii_digit()).parse::<i128>().ok();
    let mut index = 0;
    while index < words.len() {
        let word = words[index];
        let rest = &words[index..];
        let (difference, used) = match rest {
            // (3, counted=4)
            [first, second, ..] if second.starts_with("counted=") => (number(first).zip(number(second)), 2),
            // i_blocks is 3, should be 4
            [first, should, be, second, ..] if *should == "should" && *be == "be" => {
                (number(first).zip(number(second)), 4)
            }
            // Illegal reference (134217728 >= 6): of the second there are more as the file grows.
            [_, ">=", ..] => (number(word).map(|first| (first, 0)), 3),
            _ => (None, 0),
        };
        match difference {
            Some((first, second)) => {
                out.push_str(&format!("by {} ", first - second));
                index += used;
            }
            None => {
                match word.find('/') {
                    Some(at) if !word.starts_with("../") => out.push_str(&word[..=at]),
                    _ => out.push_str(word),
                }
                out.push(' ');
                index += 1;
            }
        }
    }
    [out.trim_end().to_owned()].into()
}

fn strip_question(line: &str) -> &str {
    line.strip_suffix("? no")
        .or_else(|| line.strip_suffix("? yes"))
        .and_then(|line| line.rsplit_once("  "))
        .map_or(line, |(line, _)| line)
        .trim()
}

/// The blocks of `+12`, `-(12--15)`.
fn items(what: &str, item: &str) -> Vec<String> {
    let (sign, list) = item.split_at(1);
    let numbers = range(list.trim_matches(['(', ')']));
    if numbers.is_empty() {
        vec![format!("{what}{item}")]
    } else {
        numbers.map(|number| format!("{what}{sign}{number}")).collect()
    }
}

/// The numbers of `12` or `12--15`.
fn range(text: &str) -> Range<u64> {
    let (first, last) = text.split_once("--").unwrap_or((text, text));
    match (first.parse(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..last + 1,
        _ => 0..0,
    }
}
