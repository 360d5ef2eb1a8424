# What can be done here; `make help` lists it. Each target is an alias.
SHELL := /bin/bash
PREFIX ?= /usr/local
N ?= 20000
SECONDS_MAX ?= 3600

.PHONY: help build demo test test-root test-vm test-boot testdata bench lint fmt fuzz kills fuzz-ext4 fuzz-fast-commit fuzz-fat fuzz-walk fuzz-qcow2 fuzz-volumes install dist clean

help:           ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/  \1\t/' | expand -t 14

build:          ## the release binary: target/release/imgraft
	cargo build --release --locked

demo: build     ## five items into a copy of the committed guest, and what other tools say of it
	bash tests/demo.sh

test: testdata  ## install what the tests need where possible, build the images, run every test
	cargo test --workspace --locked

test-root: testdata  ## the tests that need root (loop mounts) must run: no skip passes
	REQUIRE_ORACLES=1 cargo test --workspace --locked

test-vm: testdata  ## what needs network block devices, in a User Mode Linux machine that has them: a part of test as well
	REQUIRE_ORACLES=1 cargo test --locked -p imgraft-vfs --test guestfs_contract --test nbd_device -- contract_over in_a_machine
	REQUIRE_ORACLES=1 cargo test --locked --test integration -- in_a_machine

test-boot: testdata  ## Debian guests are booted under User Mode Linux with what was put into them, and asked at their consoles: a part of test as well
	REQUIRE_ORACLES=1 cargo test --locked --test integration -- boot::

testdata:       ## install the oracles where possible and build the guest images
	bash testdata/install-oracles.sh
	bash testdata/build.sh

bench: build    ## imgraft beside debugfs, a loop mount, fuse2fs, virt-customize, genisoimage and mkfs.vfat
	cargo build --release --locked -p imgraft-vfs --example list
	python3 tests/bench/bench.py

lint:           ## formatting, clippy, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --locked check bans licenses sources

fmt:            ## format the sources
	cargo fmt --all

fuzz:           ## the long runs, N samples each: crash states of a commit, damaged images; N/1000 wrong bits in every block of ext4
	CRASH_SAMPLES=$(N) cargo test --release --locked -p imgraft-vfs --lib -- --nocapture crash
	IMGRAFT_FLIPS=$(N) cargo test --release --locked --test integration -- --nocapture flips
	IMGRAFT_SWEEP=$$(($(N) / 1000)) cargo test --release --locked -p imgraft-vfs --test ext4_sweep -- --nocapture

kills:          ## N kills of the release binary at random moments: commits, undos, a block device; as root
	IMGRAFT_KILLS=$(N) cargo test --release --locked --test integration -- --nocapture kill

fuzz-ext4:      ## N random sequences by imgraft and by the kernel on twin images; as root
	FUZZ_EXT4=$(N) cargo test --release --locked -p imgraft-vfs --test ext4_fuzz -- --nocapture

fuzz-fast-commit: ## N rounds of fast commits by the kernel, cut off and replayed; as root
	FUZZ_FAST_COMMIT=$(N) cargo test --release --locked -p imgraft-vfs --test ext4_fast_commit -- --nocapture what_was_there

fuzz-fat:       ## N random sequences on FAT, by fsck.vfat and mtools; and coverage-guided damage to it (needs cargo-fuzz)
	FUZZ_FAT=$(N) cargo test --release --locked -p imgraft-vfs --test fat -- --nocapture sequences
	cd vfs && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none fat_open_walk -- -max_total_time=$(SECONDS_MAX) \
		-max_len=130 -len_control=0 -timeout=10 -rss_limit_mb=2048

fuzz-walk:      ## an hour of coverage-guided damage to ext4 (needs cargo-fuzz; SECONDS_MAX=N for another time)
	python3 vfs/fuzz/bases.py vfs/fuzz/bases vfs/fuzz/corpus/ext4_open_walk
	cd vfs && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none --no-trace-compares ext4_open_walk -- -max_total_time=$(SECONDS_MAX) \
		-max_len=130 -len_control=0 -timeout=10 -rss_limit_mb=2048

fuzz-qcow2:     ## the same with hostile qcow2 files; a quarter as long with files of every format
	python3 vfs/fuzz/qcow2_seeds.py vfs/fuzz/corpus/qcow2_open_read
	cd vfs && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none qcow2_open_read -- -max_total_time=$(SECONDS_MAX) \
		-max_len=400000 -len_control=0 -timeout=20 -rss_limit_mb=2048
	python3 vfs/fuzz/inspect_seeds.py vfs/fuzz/corpus/image_inspect
	cd vfs && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none image_inspect -- -max_total_time=$$(($(SECONDS_MAX) / 4)) \
		-max_len=80000 -len_control=0 -timeout=20 -rss_limit_mb=2048

fuzz-volumes:   ## the same with hostile metadata of LVM2 and hostile LUKS headers, half of the time each
	python3 vfs/fuzz/volume_seeds.py vfs/fuzz/corpus/lvm_metadata vfs/fuzz/corpus/luks_header
	cd vfs && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none lvm_metadata -- -max_total_time=$$(($(SECONDS_MAX) / 2)) \
		-max_len=20000 -timeout=20 -rss_limit_mb=2048
	cd vfs && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none luks_header -- -max_total_time=$$(($(SECONDS_MAX) / 2)) \
		-max_len=12000 -timeout=60 -rss_limit_mb=2048

install: build  ## put the binary into $(PREFIX)/bin
	install -D -m 0755 target/release/imgraft $(DESTDIR)$(PREFIX)/bin/imgraft

dist: build     ## a tar archive of the binary and its documents
	tar -C . -czf target/imgraft.tar.gz README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE -C target/release imgraft

clean:          ## remove everything that is built
	cargo clean
	rm -rf testdata/built
