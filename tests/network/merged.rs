//! What cloud-init is told by several files: by its own words, and by ours.

use crate::oracle::{python, unpacked};
use imgraft::guest::{CloudInitNetwork, Guest};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::read;
use imgraft_vfs::fs::GuestFs;
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::Stage;

const DIRECTORY: &str = "/etc/cloud/cloud.cfg.d";
const TEXTS: [&str; 7] = [
    "users: []\n",
    "network: {config: disabled}\n",
    "network: {version: 2, ethernets: {eth9: {dhcp4: true}}}\n",
    "network: {version: 1, config: [{type: physical, name: eth9}]}\n",
    "network: {config: {version: 2, ethernets: {eth9: {dhcp4: true}}}}\n",
    "network: {config: null}\n",
    "network: null\n",
];

fn guest(texts: &[&str]) -> MemFs {
    // Before what we write, and behind it.
    let names = ["50-first.cfg", "99-second.cfg"];
    let mut builder = MemFs::builder().file("/usr/bin/cloud-init", "").file("/usr/lib/systemd/systemd-networkd", "");
    for (name, text) in names.iter().zip(texts) {
        builder = builder.file(format!("{DIRECTORY}/{name}"), *text);
    }
    builder.build().unwrap()
}

/// The texts of the files after a run; `None` where it is refused.
fn after(texts: &[&str], choice: Choice) -> Option<Vec<String>> {
    let mut fs = guest(texts);
    let network = Described::Config(read::document("{version: 2, ethernets: {eth0: {dhcp4: true}}}").unwrap());
    let net = Net { network, renderer: Some(choice), compat: Compat::Imgraft };
    let changes = {
        let guest = Guest::inspect(&fs).unwrap();
        let mut stage = Stage::new(&fs);
        net.stage(&guest, &mut stage).ok()?;
        stage.finish().unwrap()
    };
    changes.apply(&mut fs).unwrap();
    let at = |path: String| resolve(&fs, &GuestPath::parse(path).unwrap(), Follow::All).unwrap();
    let mut names: Vec<_> = fs.read_dir(&at(DIRECTORY.to_owned())).unwrap();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let read = |name: Vec<u8>| {
        let at = at(format!("{DIRECTORY}/{}", String::from_utf8(name).unwrap()));
        String::from_utf8(imgraft_vfs::fs::read_file(&fs, &at, 1 << 20).unwrap()).unwrap()
    };
    Some(names.into_iter().map(|entry| read(entry.name)).collect())
}

#[test]
fn cloud_init_does_what_it_is_told() {
    let Some(library) = unpacked("cloud-init/usr/lib/python3/dist-packages/cloudinit") else { return };
    let networkd = Choice::Stack(imgraft::guest::NetworkStack::Networkd);
    // What is to be, and of which files.
    let mut asked: Vec<(bool, Vec<String>)> = Vec::new();
    let mut refused = 0;
    for first in TEXTS {
        for second in TEXTS {
            let texts = [first, second];
            let network = Guest::inspect(&guest(&texts)).unwrap().network;
            let says = network.cloud_init_config().map(|says| says.network);
            asked.push((says == Some(CloudInitNetwork::Disabled), texts.map(str::to_owned).to_vec()));
            for (choice, stands_aside) in [(networkd, true), (Choice::CloudInit, false)] {
                match after(&texts, choice) {
                    Some(texts) => asked.push((stands_aside, texts)),
                    None => refused += 1,
                }
            }
        }
    }
    let texts: Vec<_> = asked.iter().map(|(_, texts)| texts).collect();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/merged.py");
    let answers: Vec<bool> = python(&script, library.parent().unwrap(), &texts);
    assert_eq!(answers.len(), asked.len());
    for ((expected, texts), answer) in asked.iter().zip(answers) {
        assert_eq!(*expected, answer, "{texts:?}");
    }
    assert!((45..80).contains(&refused), "{refused}");
}
