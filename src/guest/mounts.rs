//! What a guest has mounted below its root, and where.

mod checked;
mod discovered;
mod memory;

use super::init::Init;
use super::{Reader, fstab};
pub use checked::Disks;
use discovered::{Found, Said};
use fstab::{Disk, Spec};
use imgraft_vfs::fs::GuestFs;
use imgraft_vfs::fs::mounted::{SUBVOLUMES_MAX, names};
use imgraft_vfs::fs::tree::{Mount, Places, Refused, Takes, Tree, check_count};
use imgraft_vfs::fstab::{Entry, parse};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::shell;
use imgraft_vfs::stage::Led;
use imgraft_vfs::volume::{Mark, Selector, Survey, VolumeInfo, Volumes};
use imgraft_vfs::{Error, ErrorKind, Layer, Result};

/// Filesystems that are in a machine's memory.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// Filesystems that a kernel makes up.
const MADE_UP: [&str; 19] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "functionfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "proc",
    "pstore",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// How many mounts of a kind are told of one by one.
const NOTES_MAX: usize = 16;

/// Who says what was typed.
const GIVEN: &str = "--mount";

/// Where a Linux has filesystems of its kernel and of its memory as soon as it runs: hier(7), file-hierarchy(7).
const ALWAYS: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// What was asked for of the mounts of a guest.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whose word is taken.
    pub by: By,
    /// What is mounted at these places whatever the guest says; nothing, where there is no volume.
    pub places: Vec<(GuestPath, Option<Selector>)>,
    /// What of the disk is reached at the places of filesystems without one.
    pub beneath: Beneath,
}

/// What of a disk lies beneath filesystems without one: those in the guest's memory, and those that its kernel makes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beneath {
    /// Nothing is reached, as the guest does not see it.
    #[default]
    Hidden,
    /// All of it, be it seen by the guest or not: for what goes through a disk and not through a guest.
    Reached,
}

/// Whose word is taken for what is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The guest's.
    #[default]
    Guest,
    /// Nobody's: what is not given is not mounted.
    Nobody,
}

/// The mounts of a guest.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// Those that its start mounts, and those that were given.
    pub mounted: Vec<Planned>,
    /// Those that come with the root's own filesystem: subvolumes of a btrfs, which its kernel mounts.
    pub with_root: Vec<Planned>,
    /// Those that its start leaves alone, and that somebody or something may mount later.
    pub left: Vec<Planned>,
    /// What is odd and was left out, a clause each.
    pub notes: Vec<String>,
    /// Where every Linux mounts what is not on a disk, whether its fstab says so or not.
    always: Vec<&'static str>,
}

/// Something at a place.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The place, as it is named.
    pub path: GuestPath,
    /// Who says so: `line 3 of /etc/fstab (UUID=…)`.
    pub origin: String,
    /// What is there.
    pub what: What,
    /// What it takes for a place.
    pub takes: Takes,
}

/// What is at a place.
#[derive(Clone, Debug)]
pub enum What {
    /// A volume of the image.
    Volume(Selector),
    /// What cannot be had, or is of no use: why, and what to do instead.
    Unusable {
        /// Why, a clause.
        reason: String,
        /// What to do instead.
        hint: Option<String>,
    },
}

impl Mounts {
    /// Reads what a guest says of its mounts. `root` is its root filesystem alone, on the volume `on`.
    ///
    /// `Unsupported` for an fstab of more than a megabyte, or with more lines than a tree has mounts; the survey's error for a volume
    /// that was given and is not there.
    pub fn inspect(root: &dyn GuestFs, on: &VolumeInfo, survey: &Survey, wanted: &Wanted) -> Result<Self> {
        let mut mounts = Self::default();
        for (path, selector) in &wanted.places {
            if let Some(selector) = selector {
                check_given(path, selector, survey)?;
                let (path, origin, what) = (path.clone(), GIVEN.to_owned(), What::Volume(selector.clone()));
                mounts.mounted.push(Planned { path, origin, what, takes: Takes::NewDirectory });
            }
        }
        if wanted.by == By::Nobody || !super::is_root(root)? {
            return Ok(mounts);
        }
        let reader = Reader::new(root);
        let text = |path| {
            let found: Result<Option<Vec<u8>>> = reader.file(path, fstab::LIMIT);
            found.map(Option::unwrap_or_default).map_err(|error| match error.kind() {
                ErrorKind::Unsupported => error.with_hint("--mount none leaves the guest's mounts out of account"),
                _ => error,
            })
        };
        let (entries, notes) = parse(&text("/etc/fstab")?);
        // Of subvolumes there may be more, and no more than fit into a megabyte.
        check_count(entries.iter().filter(|entry| entry.path != GuestPath::root() && !is_subvolume(entry)).count())?;
        mounts.notes = notes;
        let init = if entries.is_empty() { Init::Unknown } else { Init::inspect(&reader)? };
        let crypttab =
            if entries.iter().any(|entry| matches!(fstab::spec(&entry.spec, &Disk::default()), Spec::Mapped(_))) {
                text("/etc/crypttab")?
            } else {
                Vec::new()
            };
        let disk = Disk::of(&entries);
        let root_spec = entries.iter().find(|entry| entry.path == GuestPath::root()).map(|entry| entry.spec.as_str());
        // Which of these the root's own kernel has mounted, that one knows by the line alone.
        let is_root = |entry: &Entry| match fstab::spec(&entry.spec, &disk) {
            Spec::Volume(selector) => {
                survey.find(&selector).is_ok_and(|found| survey.inside(&found).name() == on.name())
            }
            _ => false,
        };
        let is_named = |entry: &Entry| names(&entry.spec, root_spec, on.signature.as_ref());
        // By the place, whatever it is called: a symbolic link may lead there.
        let places = Places::new(root);
        let given: Vec<_> = wanted.places.iter().map(|(path, _)| (path, places.find(path))).collect();
        let is_given = |path: &GuestPath| {
            let is_named = given.iter().any(|(one, _)| *one == path);
            is_named
                || (!given.is_empty()
                    && places.find(path).is_some_and(|at| given.iter().any(|(_, one)| one.as_ref() == Some(&at))))
        };
        let is_reached = wanted.beneath == Beneath::Reached;
        mounts.always = ALWAYS
            .into_iter()
            .filter(|_| !is_reached)
            .filter(|place| !wanted.places.iter().any(|(given, _)| given.as_bytes() == place.as_bytes()))
            .collect();
        for entry in &entries {
            let is_diskless = IN_MEMORY.contains(&&*entry.filesystem) || MADE_UP.contains(&&*entry.filesystem);
            if entry.path == GuestPath::root() || is_given(&entry.path) || (is_diskless && is_reached) {
                continue;
            }
            let origin = format!("line {} of /etc/fstab ({})", entry.line, entry.spec);
            let (path, what) = (entry.path.clone(), what(entry, &disk, &crypttab));
            let mut planned = Planned { path, origin, what, takes: takes(entry, init) };
            // By automount(8) it is there as soon as somebody looks.
            if entry.has("noauto") && entry.value("x-systemd.automount").is_none() {
                mounts.left.push(planned);
            } else if is_subvolume(entry) && is_named(entry) && mounts.with_root.len() < SUBVOLUMES_MAX {
                mounts.with_root.push(planned);
            } else {
                if is_subvolume(entry) && (is_named(entry) || is_root(entry)) {
                    planned.what = not_with_root();
                }
                mounts.mounted.push(planned);
            }
        }
        let said = |entry: Entry| {
            let volume = match fstab::spec(&entry.spec, &disk) {
                Spec::Volume(selector) => survey.find(&selector).ok().map(|info| info.name()),
                _ => None,
            };
            Said { path: entry.path, volume }
        };
        let said: Vec<Said> = entries.into_iter().map(said).collect();
        let Found { mounted, in_old_versions } = discovered::partitions(&reader, survey, &said)?;
        mounts.mounted.extend(mounted.into_iter().filter(|planned| !is_given(&planned.path)));
        if !is_reached {
            mounts.mounted.extend(memory::tmp(&reader, &said)?.filter(|planned| !is_given(&planned.path)));
        }
        mounts.left.extend(in_old_versions.into_iter().filter(|planned| !is_given(&planned.path)));
        Ok(mounts)
    }

    /// Fails where a path lies below what the guest's kernel hides, so that nobody would see what is put there. `path` is resolved;
    /// `led` is the symbolic link that is to be named for the reason.
    pub fn check_seen(&self, path: &[u8], led: Option<&Led>) -> Result<()> {
        let Some(place) = self.always.iter().find(|place| is_below(path, place)) else { return Ok(()) };
        if let Some(led) = led {
            let Led { link, target, .. } = led;
            let message = format!(
                "a symbolic link to {target}, and at {place} the guest's kernel mounts a filesystem without a disk: what is put \
                 below it is not seen there"
            );
            let of_own = if led.is_of_file() { "a file" } else { "a directory" };
            let hint =
                format!("--delete {} before it makes it {of_own} of its own", shell::word(link.to_string().as_ref()));
            return Err(Error::unsupported(Layer::Stage, message).with_guest_path(link.as_bytes()).with_hint(hint));
        }
        let message = format!(
            "the guest's kernel mounts a filesystem without a disk at {place}: what is put below it is not seen there"
        );
        let hint =
            format!("choose another path; --mount none:{place} takes what is below it, which the guest does not see");
        Err(Error::unsupported(Layer::Volume, message).with_guest_path(path).with_hint(hint))
    }

    /// What to know of paths where something may be mounted later, a clause for each such place. The paths are resolved.
    pub fn covering<'p>(&self, paths: impl Iterator<Item = &'p Resolved> + Clone, tree: &Tree) -> Vec<String> {
        let covers = |place: &Resolved| {
            let is_in = |path: &Resolved| {
                let rest = path.as_bytes().strip_prefix(place.as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            *place != Resolved::root() && paths.clone().any(is_in)
        };
        let left = self.left.iter().filter(|planned| tree.place_of(&planned.path).as_ref().is_some_and(covers));
        let note = |Planned { path, origin, .. }: &Planned| {
            format!("{origin} may be mounted at {path} later, and hides what lies there then")
        };
        in_short(left.map(note).collect())
    }

    /// What of the guest's mounts is odd and was left out, a clause each.
    pub fn odd(&self, tree: &Tree) -> Vec<String> {
        let left_out = tree.left_out().iter().filter_map(|left_out| {
            let Planned { path, origin, .. } = self.mounted.get(left_out.number.checked_sub(1)?)?;
            Some(format!("{origin} cannot be mounted at {path}, and is left out: {}", left_out.why))
        });
        self.notes.iter().cloned().chain(in_short(left_out.collect())).collect()
    }

    /// The place of a part of the tree, as it is named.
    pub fn path(&self, number: usize) -> Option<GuestPath> {
        match number.checked_sub(1) {
            None => Some(GuestPath::root()),
            Some(place) => self.mounted.get(place).map(|planned| planned.path.clone()),
        }
    }

    /// The tree of a guest, of which nothing but the root is opened yet. The numbers of its parts are places in
    /// [`mounted`](Self::mounted), from 1.
    pub fn tree(&self, root: Box<dyn GuestFs>, volumes: &Volumes) -> Result<Tree> {
        let mounts = self.mounted.iter().map(|Planned { path, origin, what, takes }| {
            let source = match what {
                What::Volume(selector) => volumes.source(selector.clone(), path.clone()),
                What::Unusable { reason, hint } => {
                    let error = Error::unsupported(Layer::Volume, reason);
                    Box::new(Refused(match hint {
                        Some(hint) => error.with_hint(hint),
                        None => error,
                    }))
                }
            };
            Mount { path: path.clone(), origin: origin.clone(), source, takes: *takes }
        });
        let tree = Tree::new(root, mounts.collect())?;
        for left_out in tree.left_out() {
            let place = left_out.number.checked_sub(1).and_then(|place| self.mounted.get(place));
            // What was typed is not left out in silence.
            if let Some(Planned { path, .. }) = place.filter(|planned| planned.origin == GIVEN) {
                let message = format!("--mount VOLUME:{path}: {}", left_out.why);
                return Err(Error::unsupported(Layer::Volume, message).with_hint("name a directory of the guest"));
            }
        }
        Ok(tree)
    }
}

/// Whether every Linux has something of its own over what a disk has at a path, which is resolved.
pub fn is_never_seen(path: &[u8]) -> bool {
    ALWAYS.iter().any(|place| is_below(path, place))
}

fn is_below(path: &[u8], place: &str) -> bool {
    path.strip_prefix(place.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
}

/// The first of many notes, and how many more there are.
fn in_short(mut notes: Vec<String>) -> Vec<String> {
    let others = notes.len().saturating_sub(NOTES_MAX);
    notes.truncate(NOTES_MAX);
    if others > 0 {
        notes.push(format!("the same of {others} more mounts"));
    }
    notes
}

/// Fails where a volume that was given is not there; what may be in a LUKS volume shows when it is needed.
fn check_given(path: &GuestPath, selector: &Selector, survey: &Survey) -> Result<()> {
    match survey.find(selector) {
        Err(error) if error.kind() == ErrorKind::NotFound && survey.may_hide(selector) => Ok(()),
        Err(error) => {
            let names: Vec<String> = survey.volumes().iter().map(VolumeInfo::name).collect();
            let message = format!("--mount {selector}:{path}: {}", error.message());
            let hint = format!("--mount VOLUME:{path} takes one of {}", names.join(", "));
            Err(Error::new(error.kind(), error.layer(), message).with_hint(hint))
        }
        Ok(_) => Ok(()),
    }
}

/// What a line takes for a place: systemd makes one, and so does mount(8) where it is told to.
fn takes(entry: &Entry, init: Init) -> Takes {
    let is_made = ["x-mount.mkdir", "X-mount.mkdir"].iter().any(|option| entry.value(option).is_some());
    match init {
        _ if entry.has("bind") || entry.has("rbind") => Takes::Anything,
        Init::Other if !is_made => Takes::Directory,
        Init::Systemd | Init::Unknown | Init::Other => Takes::NewDirectory,
    }
}

/// Whether a line is about a subvolume of btrfs(5), be it the topmost.
fn is_subvolume(entry: &Entry) -> bool {
    ["subvol", "subvolid"].into_iter().any(|option| entry.value(option).is_some_and(|value| !value.is_empty()))
}

/// A subvolume of the root's filesystem that was not mounted with it.
fn not_with_root() -> What {
    let reason = format!(
        "it is a subvolume of the root's filesystem, which is followed where the line names that by UUID, by label, or as the \
         root's line does, and for {SUBVOLUMES_MAX} of them"
    );
    What::Unusable { reason, hint: None }
}

/// What a line of fstab mounts.
fn what(entry: &Entry, disk: &Disk, crypttab: &[u8]) -> What {
    let Entry { spec, path, filesystem, .. } = entry;
    let unusable = |reason: String, hint: Option<String>| What::Unusable { reason, hint };
    if entry.has("bind") || entry.has("rbind") {
        let reason = format!("it is a bind mount of {spec}, which is not followed");
        return unusable(reason, Some(format!("name the path by way of {spec}")));
    }
    let kind = filesystem.as_str();
    if IN_MEMORY.contains(&kind) {
        return in_memory(kind, path);
    }
    if MADE_UP.contains(&kind) {
        return unusable(format!("it is a {kind}, which the guest's kernel makes up"), Some(unseen(path)));
    }
    if is_subvolume(entry) {
        let reason = "it is a subvolume of another btrfs than the root's, which is not looked into";
        return unusable(reason.to_owned(), None);
    }
    let elsewhere = || unusable(format!("{spec} cannot be found in the image"), None);
    match fstab::spec(spec, disk) {
        Spec::Volume(selector) => What::Volume(selector),
        Spec::Mapped(name) => match mapped(&name, disk, crypttab) {
            Some(selector) => What::Volume(selector),
            None => elsewhere(),
        },
        Spec::Elsewhere => elsewhere(),
        Spec::Other => unusable(format!("{spec} ({kind}) is not in the image"), None),
    }
}

/// A filesystem in the guest's memory.
fn in_memory(kind: &str, path: &GuestPath) -> What {
    let reason = format!("it is a {kind}, in the guest's memory: what is put there is gone when the guest starts");
    What::Unusable { reason, hint: Some(unseen(path)) }
}

/// What to do where a place is none of the disk.
fn unseen(path: &GuestPath) -> String {
    format!(
        "choose another path, or --delete the symbolic link that leads there before it; --mount none:{path} takes what is below it, \
         which the guest does not see"
    )
}

/// What has a name below `/dev/mapper`: what is in an encrypted volume of crypttab, or one that dracut(8) names by its UUID, or
/// a logical volume.
fn mapped(name: &str, disk: &Disk, crypttab: &[u8]) -> Option<Selector> {
    if let Some(device) = fstab::encrypted(crypttab, name) {
        return match fstab::spec(&device, disk) {
            Spec::Volume(selector) => Some(selector),
            Spec::Mapped(name) => fstab::logical(&name).map(Selector::Logical),
            Spec::Elsewhere | Spec::Other => None,
        };
    }
    match name.strip_prefix("luks-") {
        Some(uuid) if uuid.len() == 36 => Some(Selector::Marked(Mark::Uuid, uuid.to_owned())),
        _ => fstab::logical(name).map(Selector::Logical),
    }
}

#[cfg(test)]
mod tests;
