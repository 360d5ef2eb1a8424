//! The options of the item "files".

use clap::Args;

/// What is done to files of the guest, in the order given.
#[derive(Debug, Args)]
pub struct Files {
    /// Copy a host file into the guest (item "files"; repeatable)
    ///
    /// It gets the host file's permission bits, but for set-user-ID and its like; they count for a file that is there, too. The
    /// owner is not the host's, whose number is another user's in the guest (virt-customize takes it over): a new file has that
    /// of its directory, one that is there keeps its own, and --chown after it gives another. Directories that are missing are made. A DEST that ends with a slash, or is a directory, is what FILE goes into.
    /// DEST begins after the last colon that a slash follows.
    ///
    /// --upload and all options of the item "files" apply in the order given.
    #[arg(long, value_name = "FILE:DEST")]
    pub upload: Vec<String>,

    /// Copy a file or a whole directory of the host below a directory of the guest, which has to be there (item "files"; repeatable)
    ///
    /// As tar copies: owners (by number) and permission bits are the host's, of directories that are there too; symbolic
    /// links are copied as links and not followed; files that are there are replaced. Regular files keep their times, to the second. Hard links
    /// become files of their own; devices, pipes and sockets are refused. One option copies at most 100,000 files.
    /// A LOCALPATH that ends with /. is what is in the directory.
    #[arg(long, value_name = "LOCALPATH:REMOTEDIR")]
    pub copy_in: Vec<String>,

    /// Unpack a tar archive of the host below a directory of the guest, which has to be there (item "files"; repeatable)
    ///
    /// As tar unpacks for root: owners (by number), permission bits and times (to the second), symbolic and hard links, devices
    /// and pipes; files that are there are replaced, and a member ./ is REMOTEDIR itself. A link of the guest to a directory is
    /// kept, as by tar's --keep-directory-symlink. Extended attributes are not taken. The archive is uncompressed; one with a name that leads upwards, a member behind
    /// one of its own symbolic links, a hard link of what is not in it, or files whose holes are left out (tar's --sparse) is
    /// refused. One option unpacks at most 100,000 files.
    #[arg(long, value_name = "TARFILE:REMOTEDIR")]
    pub tar_in: Vec<String>,

    /// Copy a file or a directory of the guest within the guest (item "files"; repeatable)
    ///
    /// As cp -a does: a DEST that is a directory is where SOURCE goes into, and what is in a directory that is there already
    /// stays. Owner, mode, times, access lists and capabilities go along, and hard links among what is copied stay
    /// such; SELinux labels are those of the new place. SOURCE is what it is before this option, whatever other options do
    /// to it afterwards. The same again copies what is there then: over the first copy, and where DEST was new and SOURCE is a
    /// directory, into that. One run copies at most 64 GiB, holes counted. DEST begins after the first colon that a slash follows.
    #[arg(long, value_name = "SOURCE:DEST")]
    pub copy: Vec<String>,

    /// Give a file or a directory of the guest another path (item "files"; repeatable)
    ///
    /// As mv does: a DEST that is a directory is where SOURCE goes into, a file that is there gives way, a directory does not.
    /// A file stays the one that it is, with its owner, mode, times, label and other names; nothing is moved onto another
    /// filesystem of the guest. A second run finds no SOURCE, and fails. DEST begins after the first colon that a slash follows.
    #[arg(id = "move", long = "move", value_name = "SOURCE:DEST")]
    pub moved: Vec<String>,

    /// Write a text into a file of the guest (item "files"; repeatable)
    #[arg(long, value_name = "DEST:CONTENT")]
    pub write: Vec<String>,

    /// Add a line to the end of a file, which is made where it is missing (item "files"; repeatable)
    ///
    /// It ends as the file's own lines do. It is added by each run anew.
    #[arg(long, value_name = "FILE:LINE")]
    pub append_line: Vec<String>,

    /// Replace in each line of a file: s/REGEX/TEXT/, with the flags g and i (item "files"; repeatable)
    ///
    /// The expression is Perl's s///, of which look-around, back references, possessive repetitions (a++) and variables in REGEX are refused.
    /// In TEXT $1 or \1 is the first group, $& all that matched; another $, and a @ before a name, are to be written \$ and \@, in REGEX too. Other
    /// punctuation marks may stand for the slashes, s#…#…#, and brackets, s{…}{…}. Perl's g replaces an empty match right after another match too (s/a*/x/g
    /// makes xx of aa); this one does not, and makes x of it. Of a repeated group that may match nothing, (a?)*, it puts in the last match that is something.
    #[arg(long, value_name = "FILE:EXPR")]
    pub edit: Vec<String>,

    /// Make a directory, and those before it that are missing (item "files"; repeatable)
    #[arg(long, value_name = "DIR")]
    pub mkdir: Vec<String>,

    /// Make symbolic links to TARGET, or lead those that are there to it; a file in their place gives way (item "files"; repeatable)
    ///
    /// As ln -sf does outside of the guest, for virt-customize: a LINK that is a directory, or leads to one by a relative target, is what the
    /// link goes into, under TARGET's name. One that leads to TARGET already stays.
    #[arg(long, value_name = "TARGET:LINK[:LINK...]")]
    pub link: Vec<String>,

    /// Remove a file, or a directory with all that is in it (item "files"; repeatable)
    ///
    /// A name in PATH may have *, ? and [...] as in glob(7), and the path {a,b}, quoted for your shell; in such a name a backslash takes
    /// the meaning of the letter behind it away. With / behind the last one only directories are meant. What is not there is no error.
    #[arg(long, value_name = "PATH")]
    pub delete: Vec<String>,

    /// Remove a regular file as --delete does, and say what stays of what was in it (item "files"; repeatable)
    ///
    /// For virt-customize's scripts. Nothing is overwritten, as it would be for nothing in a copy-on-write image, in snapshots and in copies.
    #[arg(long, value_name = "FILE")]
    pub scrub: Vec<String>,

    /// Make an empty file, or set the time of one that is there (item "files"; repeatable)
    #[arg(long, value_name = "FILE")]
    pub touch: Vec<String>,

    /// Empty a file (item "files"; repeatable)
    #[arg(long, value_name = "FILE")]
    pub truncate: Vec<String>,

    /// Empty all files below a directory (item "files"; repeatable)
    #[arg(long, value_name = "DIR")]
    pub truncate_recursive: Vec<String>,

    /// Change owner and group, by the guest's names or by number (item "files"; repeatable)
    ///
    /// USER or GROUP may be empty to keep it. As by chown(1), a program does not stay set-user-ID or set-group-ID: --chmod comes after it.
    #[arg(long, value_name = "USER:GROUP:PATH")]
    pub chown: Vec<String>,

    /// Change permission bits, in octal with a leading 0 (item "files"; repeatable)
    ///
    /// Without it MODE is decimal, as for virt-customize, and the report says which bits those are.
    #[arg(long, value_name = "MODE:PATH", allow_hyphen_values = true)]
    pub chmod: Vec<String>,

    /// Read options from a file, virt-customize's command files: they apply in the place of this one (repeatable)
    ///
    /// A line is an option of virt-customize without its dashes, a blank, and its value: `delete /some/file`. Empty lines and
    /// those that begin with # are passed over; a backslash at the end of a line has the value go on in the next line, which
    /// begins as a new one in the value. A password in it is not seen by other users, as one on the command line is.
    // The files are read before clap reads the words: what it finds here is the line of the option behind, as FILE: line N.
    #[arg(long, value_name = "FILE")]
    pub commands_from_file: Vec<String>,
}
