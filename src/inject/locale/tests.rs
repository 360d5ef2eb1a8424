use super::*;
use crate::inject::testing::{assert_unchanged, exists, inject, notes, phony, refusal, text};
use imgraft_vfs::fs::mem::{Builder, MemFs};

fn locale(language: &str, keymap: &str) -> Locale {
    Locale { language: SettingName::parse(language), keymap: SettingName::parse(keymap) }
}

fn red_hat() -> Builder {
    systemd("ID=fedora\n")
}

fn systemd(release: &str) -> Builder {
    MemFs::builder()
        .file("/etc/os-release", release)
        .symlink("/sbin/init", "/lib/systemd/systemd")
        .file("/lib/systemd/systemd", "")
        .dir("/usr/lib/locale/de_DE.utf8")
        .file("/usr/lib/kbd/keymaps/xkb/de-nodeadkeys.map.gz", "")
}

#[track_caller]
fn after(locale: &Locale, guest: Builder) -> MemFs {
    let fs = inject(locale, guest.build().unwrap());
    assert_unchanged(locale, &fs);
    fs
}

#[test]
fn names() {
    for good in ["C", "C.UTF-8", "de_DE.UTF-8", "de_DE@euro", "de-latin1", "us", "sr_RS.UTF-8@latin"] {
        assert!(SettingName::parse(good).is_some(), "{good}");
    }
    for bad in ["", ".", "../x", "a/b", "a b", "a\nb", "LANG=C", "-x", "\"", &"a".repeat(128)] {
        assert!(SettingName::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn where_each_guest_reads_it() {
    let german = locale("de_DE.UTF-8", "de-nodeadkeys");
    let fs = after(&german, red_hat());
    assert_eq!(text(&fs, "/etc/locale.conf"), "LANG=de_DE.UTF-8\n");
    assert_eq!(text(&fs, "/etc/vconsole.conf"), "KEYMAP=de-nodeadkeys\n");
    let there = red_hat()
        .file("/etc/locale.conf", "LC_TIME=C\nLANG=\"en_US.UTF-8\"\nLC_PAPER=x")
        .file("/etc/vconsole.conf", "FONT=a\nKEYMAP='us'");
    let fs = after(&german, there);
    assert_eq!(text(&fs, "/etc/locale.conf"), "LC_TIME=C\nLANG=de_DE.UTF-8\nLC_PAPER=x");
    assert_eq!(text(&fs, "/etc/vconsole.conf"), "FONT=a\nKEYMAP=de-nodeadkeys\n");
    assert_unchanged(
        &german,
        &red_hat()
            .file("/etc/locale.conf", "LANG=\"de_DE.UTF-8\"\n")
            .file("/etc/vconsole.conf", "KEYMAP=de-nodeadkeys")
            .build()
            .unwrap(),
    );

    let debian =
        || phony().dir("/usr/lib/locale/de_DE.utf8").file("/usr/share/X11/xkb/symbols/de", "").dir("/etc/default");
    let german = locale("de_DE.utf8", "de");
    let fs = after(&german, debian().file("/etc/default/keyboard", "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"us\"\n"));
    assert_eq!(text(&fs, "/etc/default/locale"), "LANG=de_DE.utf8\n");
    assert_eq!(text(&fs, "/etc/default/keyboard"), "XKBMODEL=\"pc105\"\nXKBLAYOUT=de\n");
    assert!(!exists(&fs, "/etc/locale.conf") && !exists(&fs, "/etc/vconsole.conf"));
    let linked = debian().symlink("/etc/default/locale", "../locale.conf");
    assert_eq!(text(&after(&german, linked), "/etc/locale.conf"), "LANG=de_DE.utf8\n");
    let to_be_linked =
        debian().file("/usr/lib/tmpfiles.d/debian.conf", "L+ /etc/default/locale - - - - ../locale.conf\n");
    assert!(!exists(&after(&german, to_be_linked), "/etc/default/locale"));

    let old = MemFs::builder()
        .file("/etc/os-release", "ID=rhel\n")
        .file("/sbin/init", "")
        .file("/usr/lib/kbd/keymaps/us.map.gz", "");
    let fs = after(
        &locale("C", "us"),
        old.file("/etc/sysconfig/i18n", "").file("/etc/sysconfig/keyboard", "KEYTABLE=\"de\"\n"),
    );
    assert_eq!(text(&fs, "/etc/sysconfig/i18n"), "LANG=C\n");
    assert_eq!(text(&fs, "/etc/sysconfig/keyboard"), "KEYTABLE=us\n");
}

#[test]
fn what_the_guest_does_not_have() {
    let told = |language, keymap, guest: Builder| refusal(&locale(language, keymap), guest.build().unwrap());
    let no = told("fr_FR.UTF-8", "", red_hat());
    assert!(no.starts_with("the guest has no locale fr_FR.UTF-8 (it has C, C.utf8, POSIX, de_DE.utf8;"), "{no}");
    assert!(told("", "fr", red_hat()).contains("no keymap fr (`imgraft ls IMAGE /usr/lib/kbd/keymaps`"));
    assert!(told("", "de", phony()).contains("no keymaps at all"));
    for language in ["C.UTF-8", "de_DE.UTF-8"] {
        let alpine = MemFs::builder().file("/etc/os-release", "ID=alpine\n").file("/sbin/init", "");
        assert!(told(language, "", alpine).contains("nothing in the guest is known to read"));
    }
    let outweighed = red_hat().file("/etc/locale.conf", "LC_ALL=C\n").build().unwrap();
    assert!(notes(&locale("C", ""), &outweighed).contains("LC_ALL is set there"));
}

/// A variant is of a layout: `us` has no `nodeadkeys`, and its `dvorak` is not what was asked for.
#[test]
fn a_variant_of_the_layout_before() {
    let debian = |keyboard: &str| {
        phony()
            .file("/usr/share/X11/xkb/symbols/us", "")
            .file("/usr/bin/setupcon", "")
            .file("/bin/loadkeys", "")
            .file("/etc/default/keyboard", keyboard)
    };
    for (before, told) in [("us\"\nXKBVARIANT=\"dvorak", "dvorak"), ("de\"\nXKBVARIANT=\"nodeadkeys", "nodeadkeys")] {
        let keyboard = format!("XKBMODEL=\"pc105\"\nXKBLAYOUT=\"{before}\"\nXKBOPTIONS=\"caps:escape\"\n");
        let told = format!("XKBVARIANT was {told}, and is empty now");
        assert!(notes(&locale("", "us"), &debian(&keyboard).build().unwrap()).contains(&told));
        let fs = after(&locale("", "us"), debian(&keyboard));
        let after = text(&fs, "/etc/default/keyboard").replace('"', "");
        assert_eq!(after, "XKBMODEL=pc105\nXKBLAYOUT=us\nXKBVARIANT=\nXKBOPTIONS=caps:escape\n");
    }
    for plain in ["XKBLAYOUT=\"us\"\nXKBVARIANT=\"\"\n", "XKBLAYOUT=us\n"] {
        let fs = debian(plain).build().unwrap();
        assert_eq!(notes(&locale("", "us"), &fs), "");
        assert_unchanged(&locale("", "us"), &fs);
    }
}

/// A keymap that nothing brings to the console is there for when something does.
#[test]
fn what_brings_a_keymap_to_the_console() {
    let told = |keymap, guest: Builder| notes(&locale("", keymap), &guest.build().unwrap());
    let debian = || phony().file("/usr/share/X11/xkb/symbols/de", "").dir("/etc/default");
    assert!(told("de", debian()).contains("no setupcon (its package is console-setup)"));
    assert!(told("de", debian().file("/bin/setupcon", "")).contains("no loadkeys (its package is kbd)"));
    assert_eq!(told("de", debian().symlink("/bin/setupcon", "x").file("/usr/bin/loadkeys", "")), "");
    let keymap = "de-nodeadkeys";
    assert!(told(keymap, red_hat()).contains("no systemd-vconsole-setup"));
    let red_hat = || red_hat().file("/usr/lib/systemd/systemd-vconsole-setup", "");
    assert!(told(keymap, red_hat()).contains("no loadkeys"));
    assert_eq!(told(keymap, red_hat().file("/usr/bin/loadkeys", "")), "");
}

/// YaST's files of before systemd's, which some of SUSE's programs still read.
#[test]
fn what_suse_reads_beside_it() {
    let suse = |language: &str, keymap: &str| {
        systemd("ID=\"sles\"\nID_LIKE=\"suse\"\n")
            .file("/etc/sysconfig/language", format!("# RC_LANG\nRC_LANG=\"{language}\"\nROOT_USES_LANG=\"ctype\"\n"))
            .file("/etc/sysconfig/keyboard", format!("KEYTABLE=\"{keymap}\"\nKBD_NUMLOCK=\"bios\"\n"))
    };
    let fs = after(&locale("de_DE.UTF-8", "de-nodeadkeys"), suse("en_US.UTF-8", "de.map.gz"));
    assert_eq!(text(&fs, "/etc/locale.conf"), "LANG=de_DE.UTF-8\n");
    assert_eq!(text(&fs, "/etc/vconsole.conf"), "KEYMAP=de-nodeadkeys\n");
    assert_eq!(text(&fs, "/etc/sysconfig/language"), "# RC_LANG\nRC_LANG=de_DE.UTF-8\nROOT_USES_LANG=\"ctype\"\n");
    assert_eq!(text(&fs, "/etc/sysconfig/keyboard"), "KEYTABLE=de-nodeadkeys\nKBD_NUMLOCK=\"bios\"\n");
    // What is empty outweighs nothing, and stays so.
    let fs = after(&locale("de_DE.UTF-8", "de-nodeadkeys"), suse("", ""));
    assert!(text(&fs, "/etc/sysconfig/language").contains("RC_LANG=\"\"\n"));
    assert!(text(&fs, "/etc/sysconfig/keyboard").contains("KEYTABLE=\"\"\n"));
    // Red Hat's with systemd are not read any more.
    let fs =
        after(&locale("de_DE.UTF-8", "de-nodeadkeys"), red_hat().file("/etc/sysconfig/keyboard", "KEYTABLE=\"de\"\n"));
    assert_eq!(text(&fs, "/etc/sysconfig/keyboard"), "KEYTABLE=\"de\"\n");
}

/// An archive of three places, one of them free, as glibc has it.
#[test]
fn an_archive() {
    let name_at = 56 + 3 * 12;
    let mut archive: Vec<u8> = [0xde02_0109_u32, 0, 56, 1, 3].iter().flat_map(|number| number.to_le_bytes()).collect();
    archive.resize(56, 0);
    for (name, record) in [(0_u32, 0_u32), (name_at, 200), (0, 0)] {
        archive.extend([7, name, record].iter().flat_map(|number: &u32| number.to_le_bytes()));
    }
    archive.extend(b"pl_PL.utf8\0rest");
    let guest = || red_hat().file("/usr/lib/locale/locale-archive", &archive);
    assert_eq!(text(&after(&locale("pl_PL.UTF-8", ""), guest()), "/etc/locale.conf"), "LANG=pl_PL.UTF-8\n");
    let no = refusal(&locale("pl_PL", ""), guest().build().unwrap());
    assert!(no.contains("no locale pl_PL (it has"), "{no}");
    for broken in [&archive[..20], &archive[..60], b"x"] {
        let guest = red_hat().file("/usr/lib/locale/locale-archive", broken);
        assert!(refusal(&locale("pl_PL.UTF-8", ""), guest.build().unwrap()).contains("no locale"));
    }
    let mut hostile = archive.clone();
    hostile[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    hostile[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let guest = red_hat().file("/usr/lib/locale/locale-archive", hostile);
    assert!(refusal(&locale("pl_PL.UTF-8", ""), guest.build().unwrap()).contains("no locale"));
}
