# The tree of the phony Debian: sourced after lib.sh; `phony_debian` writes it into the current guest.
# shellcheck shell=bash
phony_debian() {
  local dir
  d 0755 0 0 /
  for dir in /boot /dev /etc /home /media /mnt /opt /proc /run /srv /sys /usr /var \
    /etc/default /etc/network /etc/network/if-up.d /etc/network/interfaces.d /etc/pam.d /etc/skel /etc/ssh \
    /etc/ssh/sshd_config.d /etc/systemd /etc/systemd/system /etc/cloud \
    /usr/bin /usr/lib /usr/lib/systemd /usr/lib/systemd/system /usr/lib/x86_64-linux-gnu /usr/sbin /usr/share /usr/local \
    /var/lib /var/lib/dpkg /var/lib/dpkg/info /var/log /var/spool; do
    d 0755 0 0 $dir
  done
  d 0700 0 0 /root
  d 1777 0 0 /tmp
  d 1777 0 0 /var/tmp
  d 0755 1000 1000 /home/debian
  l usr/bin /bin
  l usr/sbin /sbin
  l usr/lib /lib
  l /run /var/run
  n /dev/console c 5 1
  n /dev/null c 1 3

  l ../usr/lib/os-release /etc/os-release
  f 0644 0 0 /usr/lib/os-release <<'END'
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
END
  f 0644 0 0 /etc/debian_version <<<12.11
  f 0644 0 0 /etc/hostname <<<phony
  f 0644 0 0 /etc/hosts <<'END'
127.0.0.1	localhost
127.0.1.1	phony
::1		localhost ip6-localhost ip6-loopback
END
  f 0444 0 0 /etc/machine-id </dev/null
  f 0644 0 0 /etc/fstab <<END
UUID=$uuid_fs / ext4 errors=remount-ro 0 1
END
  f 0644 0 0 /etc/passwd <<'END'
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
debian:x:1000:1000:Debian:/home/debian:/bin/bash
END
  f 0640 0 42 /etc/shadow <<'END'
root:*:19675:0:99999:7:::
daemon:*:19675:0:99999:7:::
bin:*:19675:0:99999:7:::
sys:*:19675:0:99999:7:::
mail:*:19675:0:99999:7:::
www-data:*:19675:0:99999:7:::
nobody:*:19675:0:99999:7:::
systemd-network:!*:19675::::::
sshd:!:19675::::::
debian:!:19675:0:99999:7:::
END
  f 0644 0 0 /etc/group <<'END'
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:debian
mail:x:8:
sudo:x:27:debian
www-data:x:33:
shadow:x:42:
nogroup:x:65534:
systemd-network:x:998:
debian:x:1000:
END
  f 0640 0 42 /etc/gshadow <<'END'
root:*::
daemon:*::
bin:*::
sys:*::
adm:*::debian
mail:*::
sudo:*::debian
www-data:*::
shadow:*::
nogroup:*::
systemd-network:!*::
debian:!::
END
  f 0644 0 0 /etc/login.defs <<'END'
MAIL_DIR        /var/mail
PASS_MAX_DAYS	99999
PASS_MIN_DAYS	0
PASS_WARN_AGE	7
UID_MIN			 1000
UID_MAX			60000
GID_MIN			 1000
GID_MAX			60000
UMASK		022
HOME_MODE	0700
USERGROUPS_ENAB yes
# This variable is deprecated. You should use ENCRYPT_METHOD.
#MD5_CRYPT_ENAB	no
ENCRYPT_METHOD YESCRYPT
END
  f 0644 0 0 /etc/pam.d/common-password <<'END'
password	[success=1 default=ignore]	pam_unix.so obscure yescrypt
password	requisite			pam_deny.so
password	required			pam_permit.so
END
  f 0644 0 0 /etc/network/interfaces <<'END'
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

allow-hotplug ens3
iface ens3 inet dhcp
END
  f 0755 0 0 /usr/sbin/ifup <<'END'
#!/bin/sh
# Stands for ifupdown in a guest that never boots.
exit 0
END
  l ifup /usr/sbin/ifdown
  f 0644 0 0 /etc/ssh/sshd_config <<'END'
Include /etc/ssh/sshd_config.d/*.conf
PermitRootLogin prohibit-password
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem	sftp	/usr/lib/openssh/sftp-server
END
  f 0755 0 0 /usr/sbin/sshd <<'END'
#!/bin/sh
exit 0
END
  for dir in bash sh; do
    f 0755 0 0 /usr/bin/$dir <<<'placeholder of a shell'
  done
  f 0644 0 0 /usr/lib/x86_64-linux-gnu/libcrypt.so.1.1.0 <<<'placeholder of libcrypt'
  l libcrypt.so.1.1.0 /usr/lib/x86_64-linux-gnu/libcrypt.so.1
  f 0644 0 0 /etc/skel/.bashrc <<'END'
# ~/.bashrc: executed by bash(1) for non-login shells.
case $- in
    *i*) ;;
      *) return;;
esac
END
  f 0644 0 0 /etc/skel/.profile <<'END'
# ~/.profile: executed by the command interpreter for login shells.
if [ -f "$HOME/.bashrc" ]; then . "$HOME/.bashrc"; fi
END
  f 0644 1000 1000 /home/debian/.profile <<'END'
# ~/.profile: executed by the command interpreter for login shells.
END
  f 0644 0 0 /root/.profile <<'END'
# ~/.profile: executed by Bourne-compatible login shells.
mesg n 2> /dev/null || true
END
  f 0644 0 0 /var/lib/dpkg/status <<'END'
Package: base-files
Status: install ok installed
Version: 12.4+deb12u11

Package: ifupdown
Status: install ok installed
Version: 0.8.41

Package: libcrypt1
Status: install ok installed
Version: 1:4.4.33-2

Package: openssh-server
Status: install ok installed
Version: 1:9.2p1-2+deb12u6

Package: systemd
Status: install ok installed
Version: 252.38-1~deb12u1

END
  f 0640 0 4 /var/log/syslog </dev/null
  sif /lost+found mtime "@$SOURCE_DATE_EPOCH"
}
