# The tree of the phony Enterprise Linux: sourced after lib.sh; `phony_el` writes it into the current guest.
# shellcheck shell=bash

# label TYPE PATH: the label that file_contexts gives (the last line that matches, as in a sorted policy). TYPE is one of
# b c d p - l s, as in file_contexts. Remembers what it said, so that libselinux can be asked afterwards.
label() {
  local regex type context found=
  while read -r regex type context; do
    if [[ -z $context ]]; then context=$type type=--any; fi
    [[ $type = --any || $type = "-$1" ]] || continue
    if [[ $2 =~ ^($regex)$ ]]; then found=$context; fi
  done <"$stage/file_contexts"
  [[ -n $found && $found != '<<none>>' ]] || die "no label for $2"
  case $1 in -) type=f ;; *) type=$1 ;; esac
  printf '%s %s %s\n' "$2" "$type" "$found" >>"$stage/labels"
  printf '%s' "$found"
}
# The label is found first, on a line of its own, so that a failure to find one ends the script.
D() { local context; context=$(label d "$4"); d "$1" "$2" "$3" "$4" "$context"; }
F() { local context; context=$(label - "$4"); f "$1" "$2" "$3" "$4" "$context"; }
L() { local context; context=$(label l "$2"); l "$1" "$2" "$context"; }

phony_el() {
  local dir context contexts homedirs
  contexts='/.*	system_u:object_r:default_t:s0
/[^/]+	--	system_u:object_r:etc_runtime_t:s0
/	-d	system_u:object_r:root_t:s0
/bin	-l	system_u:object_r:bin_t:s0
/lib	-l	system_u:object_r:lib_t:s0
/lib64	-l	system_u:object_r:lib_t:s0
/sbin	-l	system_u:object_r:bin_t:s0
/boot(/.*)?	system_u:object_r:boot_t:s0
/dev(/.*)?	system_u:object_r:device_t:s0
/etc(/.*)?	system_u:object_r:etc_t:s0
/home	-d	system_u:object_r:home_root_t:s0
/mnt(/[^/]*)?	-d	system_u:object_r:mnt_t:s0
/opt(/.*)?	system_u:object_r:usr_t:s0
/proc	-d	system_u:object_r:proc_t:s0
/run(/.*)?	system_u:object_r:var_run_t:s0
/srv(/.*)?	system_u:object_r:var_t:s0
/sys	-d	system_u:object_r:sysfs_t:s0
/tmp	-d	system_u:object_r:tmp_t:s0
/usr(/.*)?	system_u:object_r:usr_t:s0
/var(/.*)?	system_u:object_r:var_t:s0
/etc/fstab	--	system_u:object_r:etc_t:s0
/etc/group-?	--	system_u:object_r:passwd_file_t:s0
/etc/gshadow.*	--	system_u:object_r:shadow_t:s0
/etc/hostname	--	system_u:object_r:hostname_etc_t:s0
/etc/hosts	--	system_u:object_r:net_conf_t:s0
/etc/machine-id	--	system_u:object_r:machineid_t:s0
/etc/passwd-?	--	system_u:object_r:passwd_file_t:s0
/etc/resolv\.conf.*	system_u:object_r:net_conf_t:s0
/etc/shadow.*	--	system_u:object_r:shadow_t:s0
/etc/NetworkManager(/.*)?	system_u:object_r:NetworkManager_etc_t:s0
/etc/NetworkManager/NetworkManager\.conf	--	system_u:object_r:NetworkManager_etc_rw_t:s0
/etc/NetworkManager/system-connections(/.*)?	system_u:object_r:NetworkManager_etc_rw_t:s0
/etc/pki(/.*)?	system_u:object_r:cert_t:s0
/etc/rc\.d/init\.d/.*	--	system_u:object_r:initrc_exec_t:s0
/etc/rc\.d/rc\.local	--	system_u:object_r:initrc_exec_t:s0
/etc/selinux(/.*)?	system_u:object_r:selinux_config_t:s0
/etc/selinux/([^/]*/)?contexts(/.*)?	system_u:object_r:default_context_t:s0
/etc/selinux/([^/]*/)?contexts/files(/.*)?	system_u:object_r:file_context_t:s0
/etc/ssh/ssh_host_.*_key	--	system_u:object_r:sshd_key_t:s0
/etc/sudoers\.d(/.*)?	system_u:object_r:etc_t:s0
/etc/sysconfig/network-scripts(/.*)?	system_u:object_r:net_conf_t:s0
/etc/sysconfig/network-scripts/ifup-.*	--	system_u:object_r:bin_t:s0
/etc/systemd/system(/.*)?	system_u:object_r:systemd_unit_file_t:s0
/usr/bin(/.*)?	system_u:object_r:bin_t:s0
/usr/lib(/.*)?	system_u:object_r:lib_t:s0
/usr/lib/systemd/system(/.*)?	system_u:object_r:systemd_unit_file_t:s0
/usr/lib/systemd/system/NetworkManager\.service	--	system_u:object_r:NetworkManager_unit_file_t:s0
/usr/lib/systemd/system/sshd\.service	--	system_u:object_r:sshd_unit_file_t:s0
/usr/local/lib(/.*)?	system_u:object_r:lib_t:s0
/usr/local/s?bin(/.*)?	system_u:object_r:bin_t:s0
/usr/sbin(/.*)?	system_u:object_r:bin_t:s0
/usr/sbin/NetworkManager	--	system_u:object_r:NetworkManager_exec_t:s0
/usr/sbin/sshd	--	system_u:object_r:sshd_exec_t:s0
/usr/bin/(ba)?sh	--	system_u:object_r:shell_exec_t:s0
/var/lib(/.*)?	system_u:object_r:var_lib_t:s0
/var/log(/.*)?	system_u:object_r:var_log_t:s0
/var/run(/.*)?	system_u:object_r:var_run_t:s0
/var/spool(/.*)?	system_u:object_r:var_spool_t:s0
/var/tmp	-d	system_u:object_r:tmp_t:s0
/lost\+found	-d	system_u:object_r:lost_found_t:s0'
  homedirs='#
# User-specific file contexts, generated via libsemanage
# use semanage command to manage system users to change the file_context
#
/home/[^/]+	-d	unconfined_u:object_r:user_home_dir_t:s0
/home/[^/]+/.+	unconfined_u:object_r:user_home_t:s0
/home/[^/]+/\.ssh(/.*)?	unconfined_u:object_r:ssh_home_t:s0
/home/[^/]+/bin(/.*)?	unconfined_u:object_r:home_bin_t:s0
/root(/.*)?	system_u:object_r:admin_home_t:s0
/root/\.ssh(/.*)?	system_u:object_r:ssh_home_t:s0'
  { printf '%s\n' "$contexts"; grep -v '^#' <<<"$homedirs"; } >"$stage/file_contexts"

  D 0555 0 0 /
  context=$(label d /lost+found)
  x /lost+found security.selinux "$context"
  for dir in /boot /dev /etc /home /mnt /opt /proc /run /srv /sys /usr /var \
    /etc/NetworkManager /etc/NetworkManager/conf.d /etc/NetworkManager/system-connections \
    /etc/pam.d /etc/rc.d /etc/rc.d/init.d /etc/selinux /etc/selinux/targeted /etc/selinux/targeted/contexts \
    /etc/selinux/targeted/contexts/files /etc/skel /etc/ssh /etc/sysconfig /etc/sysconfig/network-scripts \
    /etc/systemd /etc/systemd/system \
    /usr/bin /usr/lib /usr/lib/systemd /usr/lib/systemd/system /usr/local /usr/sbin /usr/share \
    /var/lib /var/log /var/spool; do
    D 0755 0 0 $dir
  done
  # The subs file makes /usr/lib64 the same as /usr/lib; the rough matcher does not read it.
  d 0755 0 0 /usr/lib64 system_u:object_r:lib_t:s0
  echo '/usr/lib64 d system_u:object_r:lib_t:s0' >>"$stage/labels"
  D 0550 0 0 /root
  D 1777 0 0 /tmp
  D 1777 0 0 /var/tmp
  D 0700 1000 1000 /home/cloud-user
  L usr/bin /bin
  L usr/sbin /sbin
  L usr/lib /lib
  L usr/lib64 /lib64
  L ../run /var/run
  L rc.d/rc.local /etc/rc.local
  L ../usr/lib/os-release /etc/os-release

  F 0644 0 0 /usr/lib/os-release <<'END'
NAME="Rocky Linux"
VERSION="9.6 (Blue Onyx)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.6"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.6 (Blue Onyx)"
CPE_NAME="cpe:/o:rocky:rocky:9::baseos"
END
  F 0644 0 0 /etc/redhat-release <<<'Rocky Linux release 9.6 (Blue Onyx)'
  F 0644 0 0 /etc/hostname <<<phony-el
  F 0644 0 0 /etc/hosts <<<'127.0.0.1   localhost localhost.localdomain'
  F 0444 0 0 /etc/machine-id </dev/null
  F 0644 0 0 /etc/fstab <<END
UUID=$uuid_fs / ext4 defaults 1 1
END
  F 0644 0 0 /etc/passwd <<'END'
root:x:0:0:root:/root:/bin/bash
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
nobody:x:65534:65534:Kernel Overflow User:/:/sbin/nologin
sshd:x:74:74:Privilege-separated SSH:/usr/share/empty.sshd:/usr/sbin/nologin
cloud-user:x:1000:1000:Cloud User:/home/cloud-user:/bin/bash
END
  F 0000 0 0 /etc/shadow <<'END'
root:!!:19675:0:99999:7:::
bin:*:19367:0:99999:7:::
daemon:*:19367:0:99999:7:::
nobody:*:19367:0:99999:7:::
sshd:!!:19675::::::
cloud-user:!!:19675:0:99999:7:::
END
  F 0644 0 0 /etc/group <<'END'
root:x:0:
bin:x:1:
daemon:x:2:
wheel:x:10:cloud-user
sshd:x:74:
nobody:x:65534:
cloud-user:x:1000:
END
  F 0000 0 0 /etc/gshadow <<'END'
root:::
bin:::
daemon:::
wheel:::cloud-user
sshd:!::
nobody:::
cloud-user:!::
END
  F 0644 0 0 /etc/login.defs <<'END'
MAIL_DIR	/var/spool/mail
UMASK		022
HOME_MODE	0700
PASS_MAX_DAYS	99999
PASS_MIN_DAYS	0
PASS_WARN_AGE	7
UID_MIN                  1000
GID_MIN                  1000
CREATE_HOME	yes
USERGROUPS_ENAB yes
ENCRYPT_METHOD SHA512
END
  F 0644 0 0 /etc/pam.d/system-auth <<'END'
password    requisite                                    pam_pwquality.so
password    sufficient                                   pam_unix.so sha512 shadow nullok use_authtok
password    required                                     pam_deny.so
END
  F 0644 0 0 /etc/selinux/config <<'END'
# This file controls the state of SELinux on the system.
SELINUX=enforcing
SELINUXTYPE=targeted
END
  F 0644 0 0 /etc/selinux/targeted/contexts/files/file_contexts <<<"$contexts"
  F 0644 0 0 /etc/selinux/targeted/contexts/files/file_contexts.homedirs <<<"$homedirs"
  F 0644 0 0 /etc/selinux/targeted/contexts/files/file_contexts.subs_dist <<'END'
/run /var/run
/run/lock /var/lock
/var/run/lock /var/lock
/lib /usr/lib
/lib64 /usr/lib
/usr/lib64 /usr/lib
/usr/local/lib64 /usr/lib
/usr/local/lib32 /usr/lib
/etc/systemd/system.control /etc/systemd/system
/var/home /home
/sysroot /
END
  F 0644 0 0 /etc/NetworkManager/NetworkManager.conf <<'END'
[main]
[logging]
END
  F 0600 0 0 /etc/NetworkManager/system-connections/ens3.nmconnection <<'END'
[connection]
id=ens3
uuid=6d677261-6674-4000-8000-0000000000e3
type=ethernet
interface-name=ens3

[ipv4]
method=auto

[ipv6]
method=auto
END
  F 0644 0 0 /etc/sysconfig/network <<<'# Created by anaconda'
  F 0644 0 0 /etc/sysconfig/network-scripts/readme-ifcfg-rh.txt <<<'NetworkManager stores new network profiles in keyfile format.'
  F 0644 0 0 /etc/rc.d/rc.local <<'END'
#!/bin/bash
touch /var/lock/subsys/local
END
  F 0600 0 0 /etc/ssh/sshd_config <<'END'
Include /etc/ssh/sshd_config.d/*.conf
AuthorizedKeysFile	.ssh/authorized_keys
Subsystem	sftp	/usr/libexec/openssh/sftp-server
END
  F 0755 0 0 /usr/sbin/sshd <<<'placeholder of sshd'
  F 0755 0 0 /usr/sbin/NetworkManager <<<'placeholder of NetworkManager'
  F 0755 0 0 /usr/bin/nmcli <<<'placeholder of nmcli'
  F 0755 0 0 /usr/bin/bash <<<'placeholder of a shell'
  F 0644 0 0 /usr/lib/systemd/system/NetworkManager.service <<'END'
[Unit]
Description=Network Manager
[Service]
ExecStart=/usr/sbin/NetworkManager --no-daemon
END
  F 0644 0 0 /usr/lib/systemd/system/sshd.service <<'END'
[Unit]
Description=OpenSSH server daemon
[Service]
ExecStart=/usr/sbin/sshd -D
END
  F 0644 0 0 /etc/skel/.bashrc <<<'# .bashrc'
  F 0644 0 0 /etc/skel/.bash_profile <<<'# .bash_profile'
  F 0644 1000 1000 /home/cloud-user/.bashrc <<<'# .bashrc'
  F 0644 0 0 /root/.bashrc <<<'# .bashrc'
}
