use super::*;
use crate::oracle;
use std::io::Write;

/// After the shape of the reference policy, in its order.
const BASE: &str = "\
/.*\tsystem_u:object_r:default_t:s0
/[^/]+\t--\tsystem_u:object_r:etc_runtime_t:s0
/\\.autofsck\t--\tsystem_u:object_r:etc_runtime_t:s0
/etc/.*\tsystem_u:object_r:etc_t:s0
/usr/.*\tsystem_u:object_r:usr_t:s0
/tmp/.*\t<<none>>
/etc/NetworkManager(/.*)?\tsystem_u:object_r:NetworkManager_etc_t:s0
/etc/NetworkManager/system-connections(/.*)?\tsystem_u:object_r:NetworkManager_etc_rw_t:s0
/etc/sysconfig/network-scripts/.*\t--\tsystem_u:object_r:net_conf_t:s0
/etc/systemd/network(/.*)?\t\tsystem_u:object_r:net_conf_t:s0
/etc/rc\\.d/rc\\.local\t--\tsystem_u:object_r:initrc_exec_t:s0
/etc/(a|b)x?\tsystem_u:object_r:ab_t:s0
/usr/lib/systemd/system(/.*)?\tsystem_u:object_r:systemd_unit_t:s0
/var/lib/[a-z]{2,3}[0-9]*\t-d\tsystem_u:object_r:odd_t:s0:c0.c3
/opt/a++\tsystem_u:object_r:plus_t:s0
/etc\t-d\tsystem_u:object_r:etc_t:s0
/etc/shadow.*\t--\tsystem_u:object_r:shadow_t:s0
/\t-d\tsystem_u:object_r:root_t:s0
/root\t-d\tsystem_u:object_r:admin_home_t:s0
";
const HOMEDIRS: &str = "\
/home/[^/]+\t-d\tunconfined_u:object_r:user_home_dir_t:s0
/home/[^/]+/.+\tunconfined_u:object_r:user_home_t:s0
/home/[^/]+/\\.ssh(/.*)?\tunconfined_u:object_r:ssh_home_t:s0
/root/\\.ssh(/.*)?\tsystem_u:object_r:ssh_home_t:s0
";
const LOCAL: &str =
    "# local\n/etc/mine\\.conf\t--\tsystem_u:object_r:mine_t:s0\n/srv(/.*)?\tsystem_u:object_r:srv_t:s0\n";
/// Where two rules fit a path, neither is always the longer one; what a rule leads to is taken as it stands.
const SUBS: &str = "/data/home /home\n/x/home /home\n/x /srv\n/y /srv\n/y/home /home\n/z /\n/w /etc/\n#/v /srv\n";
const SUBS_DIST: &str = "# x\n/lib /usr/lib\n/etc/systemd/system /usr/lib/systemd/system\n/run/x /etc\n";

const PATHS: &[(&str, FileType)] = &[
    ("/", FileType::Directory),
    ("/meta.js", FileType::Regular),
    ("/meta.js", FileType::Directory),
    ("/.autofsck", FileType::Regular),
    ("/root", FileType::Directory),
    ("/root/.ssh", FileType::Directory),
    ("/root/.ssh/authorized_keys", FileType::Regular),
    ("/root/.sshx", FileType::Regular),
    ("/home/ann", FileType::Directory),
    ("/home/ann/.ssh/authorized_keys", FileType::Regular),
    ("/home/ann/x", FileType::Regular),
    ("/data/home/ann/.ssh", FileType::Directory),
    ("/data/homex/ann/.ssh", FileType::Directory),
    ("/etc", FileType::Directory),
    ("/etc/netplan/50-imgraft.yaml", FileType::Regular),
    ("/etc/NetworkManager/system-connections/eth0.nmconnection", FileType::Regular),
    ("/etc/sysconfig/network-scripts/ifcfg-eth0", FileType::Regular),
    ("/etc/systemd/network/10-imgraft.network", FileType::Regular),
    ("/etc/systemd/system/x.service", FileType::Regular),
    ("/lib/systemd/system/x.service", FileType::Regular),
    ("/etc/rc.d/rc.local", FileType::Regular),
    ("/etc/rcxd/rc.local", FileType::Regular),
    ("/etc/ax", FileType::Regular),
    ("/etc/c", FileType::Regular),
    ("/etc/mine.conf", FileType::Regular),
    ("/etc/mine.conf", FileType::Directory),
    ("/etc/shadow-", FileType::Regular),
    ("/run/x/shadow", FileType::Regular),
    ("/var/lib/ab7", FileType::Directory),
    ("/var/lib/abcd", FileType::Directory),
    ("/opt/aaa", FileType::Regular),
    ("/tmp/x", FileType::Regular),
    ("/srv", FileType::Directory),
    ("/srv/a\nb", FileType::Regular),
    ("/x/home/ann", FileType::Directory),
    ("/x/homes/ann", FileType::Directory),
    ("/y/home/ann", FileType::Directory),
    ("/y", FileType::Directory),
    ("/z/etc/shadow", FileType::Regular),
    ("/z", FileType::Directory),
    ("/w/shadow", FileType::Regular),
    ("/v/a", FileType::Regular),
];

fn contexts() -> FileContexts {
    FileContexts::new([BASE.as_bytes(), HOMEDIRS.as_bytes(), LOCAL.as_bytes()]).unwrap().with_substitutions(
        SUBS.into(),
        SUBS_DIST.into(),
        Some(release()),
    )
}

/// What the libselinux of this machine does, which is what the tests compare with.
fn release() -> Release {
    let mut query = std::process::Command::new("dpkg-query");
    let output = query.args(["-W", "-f", "${Version}", "libselinux1"]).output();
    let version = output.ok().and_then(|output| crate::guest::dpkg::parse(&String::from_utf8(output.stdout).ok()?));
    version.map_or(Release::Before38, Release::of)
}

fn label(path: &str, file_type: FileType) -> String {
    let found = contexts().label(path.as_bytes(), file_type);
    assert!(found.untried.is_empty());
    match found.label {
        Label::Context(context) => String::from_utf8(context).unwrap(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_last_line_wins_and_an_exact_one_before_all() {
    assert_eq!(label("/root/.ssh", FileType::Directory), "system_u:object_r:ssh_home_t:s0");
    assert_eq!(label("/root", FileType::Directory), "system_u:object_r:admin_home_t:s0");
    assert_eq!(label("/home/ann/.ssh/authorized_keys", FileType::Regular), "unconfined_u:object_r:ssh_home_t:s0");
    assert_eq!(label("/data/home/ann/.ssh", FileType::Directory), "unconfined_u:object_r:ssh_home_t:s0");
    assert_eq!(label("/meta.js", FileType::Regular), "system_u:object_r:etc_runtime_t:s0");
    assert_eq!(label("/meta.js", FileType::Directory), "system_u:object_r:default_t:s0");
    assert_eq!(label("/lib/systemd/system/x", FileType::Regular), "system_u:object_r:systemd_unit_t:s0");
    assert_eq!(label("/tmp/x", FileType::Regular), "None");
    let mut exact_first = FileContexts::new([b"/a a:b:exact\n/.* a:b:regex", b"", b""]).unwrap();
    assert_eq!(exact_first.label(b"/a", FileType::Regular).label, Label::Context(b"a:b:exact".to_vec()));
    assert_eq!(FileContexts::default().label(b"/a", FileType::Regular).label, Label::Unknown);
}

/// libselinux 3.8 keeps the rules in the order of the file, all others in the opposite one.
#[test]
fn of_two_rules_that_fit() {
    assert_eq!(Release::of((3, 8)), Release::Of38);
    for (version, release) in [
        ((2, 5), Release::Before38),
        ((3, 4), Release::Before38),
        ((3, 7), Release::Before38),
        ((3, 9), Release::Since39),
        ((3, 11), Release::Since39),
        ((4, 8), Release::Since39),
    ] {
        assert_eq!(Release::of(version), release, "{version:?}");
    }
    let label = |path: &str, release| {
        let texts = [BASE.as_bytes(), HOMEDIRS.as_bytes(), LOCAL.as_bytes()];
        let contexts = FileContexts::new(texts).unwrap();
        let found =
            contexts.with_substitutions(SUBS.into(), Vec::new(), release).label(path.as_bytes(), FileType::Directory);
        let Label::Context(context) = found.label else { panic!("{path}") };
        (String::from_utf8(context).unwrap().split(':').nth(2).unwrap().to_owned(), found.is_disputed)
    };
    let is = |label: &str, is_disputed| (label.to_owned(), is_disputed);
    assert_eq!(label("/x/home/ann", Some(Release::Before38)), is("srv_t", false));
    assert_eq!(label("/x/home/ann", Some(Release::Of38)), is("user_home_dir_t", false));
    assert_eq!(label("/x/home/ann", None), is("srv_t", true));
    assert_eq!(label("/y/home/ann", Some(Release::Before38)), is("user_home_dir_t", false));
    assert_eq!(label("/y/home/ann", Some(Release::Of38)), is("srv_t", false));
    assert_eq!(label("/y/home/ann", None), is("user_home_dir_t", true));
    // One rule, or two that lead to the same label.
    assert_eq!(label("/data/home/ann", None), is("user_home_dir_t", false));
    assert_eq!(label("/x/a", None), is("srv_t", false));
}

/// Lines that are nothing but a path, of the policy's three files: what libselinux 3.4, 3.7, 3.8.1 and 3.9 say of them.
const LITERALS: [&str; 3] = [
    "/a -d x:y:typed\n/a x:y:any\n/b x:y:any\n/b -d x:y:typed\n/c x:y:one\n/c x:y:two\n/e x:y:base\n/f -d x:y:base\n/h x:y:base\n",
    "/e x:y:home\n/h -d x:y:home\n",
    "/e x:y:local\n/f x:y:local\n/h x:y:local\n",
];

fn literals(release: Option<Release>) -> FileContexts {
    FileContexts::new(LITERALS.map(str::as_bytes)).unwrap().with_substitutions(Vec::new(), Vec::new(), release)
}

#[test]
fn of_several_lines_for_one_path() {
    for (path, before, of_3_8, since) in [
        ("/a", "any", "typed", "typed"),
        ("/b", "typed", "typed", "any"),
        ("/c", "two", "one", "one"),
        ("/e", "local", "base", "local"),
        ("/f", "local", "base", "local"),
        ("/h", "local", "home", "local"),
    ] {
        for (release, expected) in [
            (Some(Release::Before38), before),
            (Some(Release::Of38), of_3_8),
            (Some(Release::Since39), since),
            (None, since),
        ] {
            let found = literals(release).label(path.as_bytes(), FileType::Directory);
            assert_eq!(found.label, Label::Context(format!("x:y:{expected}").into_bytes()), "{path} {release:?}");
            assert_eq!(found.is_disputed, release.is_none(), "{path} {release:?}");
        }
    }
    assert!(!literals(None).label(b"/b", FileType::Regular).is_disputed);
}

/// The libselinux of this machine, whichever that is.
#[test]
fn libselinux_agrees_on_several_lines() {
    let Some(tool) = oracle::find("matchpathcon") else { return };
    let dir = tempfile::tempdir().unwrap();
    for (suffix, text) in ["", ".homedirs", ".local"].into_iter().zip(LITERALS) {
        std::fs::write(dir.path().join(format!("fc{suffix}")), text).unwrap();
    }
    for path in ["/a", "/b", "/c", "/e", "/f", "/h"] {
        for (file_type, word) in [(FileType::Directory, "dir"), (FileType::Regular, "file")] {
            let mut command = std::process::Command::new(&tool);
            let output =
                command.args(["-N", "-n", "-m", word, "-f"]).arg(dir.path().join("fc")).arg(path).output().unwrap();
            let theirs = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let ours = match literals(Some(release())).label(path.as_bytes(), file_type).label {
                Label::Context(context) => String::from_utf8(context).unwrap(),
                _ => String::new(),
            };
            assert_eq!(ours, theirs, "{path} {word}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// A number that looks like any other: each is made of the one before it.
fn next(seed: &mut u32) -> usize {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    usize::try_from(*seed >> 16).unwrap()
}

/// What expressions are put together of, most of what PCRE and the crate `regex` do not have in common among it.
const PIECES: [&str; 66] = [
    "a",
    "b",
    "c",
    "1",
    "-",
    "_",
    "/",
    "/",
    "/",
    ".",
    "\\.",
    "\\d",
    "\\w",
    "\\S",
    "\\b",
    "\\-",
    "\\/",
    "\\@",
    "\\<",
    "\\v",
    "\\h",
    "\\x61",
    "[ab]",
    "[^/]",
    "[a-c]",
    "[a&&b]",
    "[a--c]",
    "[+--]",
    "[a~~b]",
    "[a[b]",
    "[]a]",
    "[^]a]",
    "[[:alpha:]]",
    "[\\d-]",
    "[&]",
    "(a)",
    "(a|b)",
    "(?:b)",
    "(ab|a)",
    "(/.*)?",
    "(a*)",
    "(?i)",
    "(?=b)",
    "(",
    ")",
    "|",
    "^",
    "$",
    "]",
    "}",
    "{2}",
    "{1,2}",
    "{,2}",
    "{x}",
    "?",
    "*",
    "+",
    "*+",
    "++",
    "?+",
    "*?",
    "+?",
    "??",
    "{1}+",
    "\\",
    "~",
];
const LETTERS: &[u8] = b"aaabbb1-_/&~[]@.";

/// The words of one expression, and what it ranks as beside another line: the libselinux of this machine on thousands of pairs.
#[test]
fn libselinux_agrees_on_what_is_tried() {
    let Some(tool) = oracle::find("matchpathcon") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut tried, mut matched, mut untried) = (0, 0, 0);
    let mut seed = 7;
    for number in 0..EXPRESSIONS {
        let count = next(&mut seed) % 4 + 1;
        let regex: String = (0..count).map(|_| PIECES[next(&mut seed) % PIECES.len()]).collect();
        let regex = format!("/{}{regex}", ["", "a/", "a\\-b/"][next(&mut seed) % 3]);
        let mut paths = vec!["/a/b".to_owned(), sample(&regex, number), regex.replace(['\\', '+', '*', '?'], "")];
        for _ in 0..12 {
            let start = ["/", "/a/", "/a-b/"][next(&mut seed) % 3];
            let length = next(&mut seed) % 3 + 1;
            let rest = (0..length).map(|_| char::from(LETTERS[next(&mut seed) % LETTERS.len()]));
            paths.push(start.chars().chain(rest).collect());
        }
        // libselinux takes these for what they are without.
        paths.retain(|path| !path.contains("//") && !path.ends_with('/') && path.is_ascii());
        // The other line comes later and is one or the other.
        let other = ["/a/.*", "/a/b"][number % 2];
        let text = format!("/.* x:y:all\n{regex} x:y:own\n{other} x:y:other\n");
        std::fs::write(dir.path().join("fc"), &text).unwrap();
        let mut command = std::process::Command::new(&tool);
        let output = command.args(["-N", "-m", "file", "-f"]).arg(dir.path().join("fc")).args(&paths).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut contexts = FileContexts::new([text.as_bytes(), b"", b""]).unwrap().with_substitutions(
            Vec::new(),
            Vec::new(),
            Some(release()),
        );
        for path in &paths {
            let theirs = said.lines().find_map(|line| line.split_once('\t').filter(|(found, _)| found == path));
            let theirs = theirs.map_or("", |(_, label)| label);
            let found = contexts.label(path.as_bytes(), FileType::Regular);
            // What it cannot read either has no label at all, not even that of all.
            if !found.untried.is_empty() || theirs.is_empty() || theirs == "<<none>>" {
                untried += 1;
                continue;
            }
            let ours = match found.label {
                Label::Context(context) => String::from_utf8(context).unwrap(),
                _ => String::new(),
            };
            assert_eq!(ours, theirs, "{text}{path}: {}", String::from_utf8_lossy(&output.stderr));
            tried += 1;
            matched += usize::from(theirs == "x:y:own");
        }
    }
    assert!(tried > 4_000 && matched > 200 && untried > 500, "{tried} tried, {matched} matched, {untried} not");
}

/// How many expressions are put together.
const EXPRESSIONS: usize = 800;

/// What is a path to releases before 3.8 and none to later ones: `matchpathcon` of 3.4, 3.8.1 and 3.9 says so.
#[test]
fn what_ranks_as_a_path() {
    let text = "/a/\\d x:y:digit\n/a/\\@b x:y:at\n/a/b] x:y:bracket\n/a\\-b/c x:y:stem\n/a/\\. x:y:dot\n/.* x:y:all\n";
    for (path, before, since, is_disputed) in [
        ("/a/1", "digit", "all", true),
        ("/a/@b", "at", "all", true),
        ("/a/b]", "bracket", "all", true),
        ("/a-b/c", "all", "stem", true),
        ("/a/.", "dot", "dot", false),
        ("/a/x", "all", "all", false),
    ] {
        for (release, expected) in [
            (Some(Release::Before38), before),
            (Some(Release::Of38), since),
            (Some(Release::Since39), since),
            (None, since),
        ] {
            let contexts = FileContexts::new([text.as_bytes(), b"", b""]).unwrap();
            let found =
                contexts.with_substitutions(Vec::new(), Vec::new(), release).label(path.as_bytes(), FileType::Regular);
            assert_eq!(found.label, Label::Context(format!("x:y:{expected}").into_bytes()), "{path} {release:?}");
            assert_eq!(found.is_disputed, is_disputed && release.is_none(), "{path} {release:?}");
        }
    }
}

#[test]
fn what_cannot_be_tried_is_named() {
    let text = b"/.* a:b:c\n/etc/(?!x).* a:b:d\n/usr/(?!x).* a:b:e\n/etc/(((((((((((((((((((((((((((((((((((x)))))))))))))))))))))))))))))))))))) a:b:f\n/etc/a{1000}{1000}{1000} a:b:g\n/etc/( x:y:z";
    let found = FileContexts::new([&text[..], b"", b""]).unwrap().label(b"/etc/y", FileType::Regular);
    assert_eq!(found.label, Label::Context(b"a:b:c".to_vec()));
    assert_eq!(found.untried.len(), 4);
}

#[test]
fn lines_that_are_none_are_skipped() {
    for line in ["", "#", "x", "/a", "/a -- ", "/a -- b c", "/a -q a:b:c", "/a \u{1}:b:c", "/a nocolons", "\0"] {
        assert!(parse(line.as_bytes()).is_none(), "{line:?}");
    }
}

#[test]
fn a_policy_has_so_many_lines_and_no_more() {
    let text = "/a a:b:c\n".repeat(LINES_MAX);
    assert!(FileContexts::new([text.as_bytes(), b"", b"# a remark\n"]).is_some());
    assert!(FileContexts::new([text.as_bytes(), b"", b"/b a:b:c\n"]).is_none());
}

#[test]
fn what_is_held_is_bounded_and_stays_right() {
    // More expressions than are held, all of them tried for one path, and again for the next one.
    let text: String =
        (0..REGEX_HELD * 3 / 2).map(|number| format!("/etc/x{{{},}} a:b:n{number}\n", number % 7 + 30)).collect();
    let text = format!("/etc/.* a:b:c\n{text}");
    let mut contexts = FileContexts::new([text.as_bytes(), b"", b""]).unwrap();
    for _ in 0..3 {
        for path in ["/etc/one", "/etc/two"] {
            assert_eq!(contexts.label(path.as_bytes(), FileType::Regular).label, Label::Context(b"a:b:c".to_vec()));
        }
        assert!(contexts.regexes.len() <= REGEX_HELD);
    }
}

#[test]
fn a_hostile_policy_ends() {
    let text = "/(a*)*b a:b:c\n".repeat(30_000);
    let found = FileContexts::new([text.as_bytes(), b"", b""])
        .unwrap()
        .label(b"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", FileType::Regular);
    assert_eq!(found.label, Label::Unknown);
    assert!(!found.untried.is_empty());
}

#[test]
fn libselinux_agrees() {
    let Some(tool) = oracle::find("matchpathcon") else { return };
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("file_contexts");
    for (suffix, text) in
        [("", BASE), (".homedirs", HOMEDIRS), (".local", LOCAL), (".subs", SUBS), (".subs_dist", SUBS_DIST)]
    {
        let path = format!("{}{suffix}", base.display());
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
    compare(&tool, &base, &mut contexts());
}

#[test]
fn libselinux_agrees_on_the_reference_policy() {
    let Some(tool) = oracle::find("matchpathcon") else { return };
    let Some(base) = oracle::file("/etc/selinux/default/contexts/files/file_contexts") else { return };
    let read = |suffix: &str| std::fs::read(format!("{}{suffix}", base.display())).unwrap_or_default();
    let mut contexts = FileContexts::new([&read(""), &read(".homedirs"), &read(".local")]).unwrap().with_substitutions(
        read(".subs"),
        read(".subs_dist"),
        Some(release()),
    );
    compare(&tool, &base, &mut contexts);
}

/// The words of matchpathcon for the types of a file.
const TYPES: [(FileType, &str); 7] = [
    (FileType::Regular, "file"),
    (FileType::Directory, "dir"),
    (FileType::Symlink, "lnk_file"),
    (FileType::Socket, "sock_file"),
    (FileType::Fifo, "pipe"),
    (FileType::CharDevice, "chr_file"),
    (FileType::BlockDevice, "blk_file"),
];
/// How many paths of the reference policy are looked up, and how many in one process.
const LOOKED_UP: usize = 10_500;
const AT_ONCE: usize = 250;

/// A path that an expression may match, and some beside it: what is optional, repeated or one of several is there or not as `choice` has it.
fn sample(regex: &str, choice: usize) -> String {
    let repeated = ["", "x", "a/b", "0"][choice % 4];
    let mut path = regex.replace("\\.", ".").replace("\\+", "+");
    for (from, to) in [
        ("(/.*)?", ["", "/", "/y", "/y.so/z"][choice / 4 % 4]),
        ("[^/]*", ["", "x", "x.so", "1"][choice % 4]),
        ("[^/]+", ["x", "9", "ab", "~"][choice % 4]),
        ("[0-9]+", ["7", "12", "", "x"][choice / 2 % 4]),
        ("[0-9]*", ["7", "12", "", "x"][choice / 2 % 4]),
        (".*", repeated),
        (".+", ["x", "x/y", ".", ""][choice % 4]),
    ] {
        path = path.replace(from, to);
    }
    // Of alternatives one; what else has a meaning goes, so that many of these paths match nothing but a weaker line.
    while let Some((start, end)) = path.find('(').and_then(|start| Some((start, start + path[start..].find(')')?))) {
        let inside: Vec<&str> = path[start + 1..end].split('|').collect();
        let chosen = inside[choice % inside.len()].to_owned();
        path.replace_range(start..=end, &chosen);
    }
    path.retain(|letter| !"()[]?*|^$\\{}".contains(letter));
    let path = path.trim_end_matches('/');
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[test]
fn libselinux_agrees_on_ten_thousand_paths() {
    let Some(tool) = oracle::find("matchpathcon") else { return };
    let Some(base) = oracle::file("/etc/selinux/default/contexts/files/file_contexts") else { return };
    let read = |suffix: &str| std::fs::read(format!("{}{suffix}", base.display())).unwrap_or_default();
    let text = String::from_utf8([read(""), read(".homedirs")].concat()).unwrap();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let samples = (0..LOOKED_UP).map(|number| sample(lines[number * 7919 % lines.len()], number / 3));
    let samples: Vec<String> = samples.filter(|path| path.is_ascii() && !path.contains("//")).collect();
    let mut labelled = std::collections::BTreeSet::new();
    let mut looked_up = 0;
    let mut contexts = FileContexts::new([&read(""), &read(".homedirs"), &read(".local")]).unwrap().with_substitutions(
        read(".subs"),
        read(".subs_dist"),
        Some(release()),
    );
    for (number, paths) in samples.chunks(AT_ONCE).enumerate() {
        let (file_type, word) = TYPES[number % TYPES.len()];
        let output =
            std::process::Command::new(&tool).args(["-N", "-m", word, "-f"]).arg(&base).args(paths).output().unwrap();
        let theirs: std::collections::HashMap<String, String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('\t').map(|(path, label)| (path.to_owned(), label.to_owned())))
            .collect();
        for path in paths {
            let found = contexts.label(path.as_bytes(), file_type);
            assert!(found.untried.is_empty(), "{path}: {:?}", found.untried);
            let ours = match found.label {
                Label::Context(context) => String::from_utf8(context).unwrap(),
                Label::None => "<<none>>".to_owned(),
                Label::Unknown => String::new(),
            };
            let theirs = theirs.get(path).map_or("", String::as_str);
            assert_eq!(ours, theirs, "{path} {file_type:?}: {}", String::from_utf8_lossy(&output.stderr));
            looked_up += 1;
            labelled.insert(ours);
        }
    }
    assert!(looked_up >= 10_000 && labelled.len() > 500, "{looked_up} paths, {} labels", labelled.len());
}

fn compare(tool: &std::path::Path, base: &std::path::Path, contexts: &mut FileContexts) {
    for (path, file_type) in PATHS {
        let word = if *file_type == FileType::Directory { "dir" } else { "file" };
        let mut command = std::process::Command::new(tool);
        let output = command.args(["-N", "-n", "-m", word, "-f"]).arg(base).arg(path).output().unwrap();
        let theirs = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let found = contexts.label(path.as_bytes(), *file_type);
        let ours = match found.label {
            Label::Context(context) => String::from_utf8(context).unwrap(),
            Label::None => "<<none>>".to_owned(),
            Label::Unknown => String::new(),
        };
        assert_eq!(ours, theirs, "{path} {file_type:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
