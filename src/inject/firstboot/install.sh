if command -v apt-get >/dev/null 2>&1; then
    # What was put into /etc by the same run is meant.
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    exec apt-get -q -y -o Dpkg::Options::=--force-confold install "$@"
elif command -v dnf >/dev/null 2>&1; then
    exec dnf -y install "$@"
elif command -v microdnf >/dev/null 2>&1; then
    exec microdnf -y install "$@"
elif command -v yum >/dev/null 2>&1; then
    exec yum -y install "$@"
elif command -v zypper >/dev/null 2>&1; then
    exec zypper --non-interactive install --auto-agree-with-licenses "$@"
elif command -v apk >/dev/null 2>&1; then
    exec apk add --update-cache "$@"
elif command -v pacman >/dev/null 2>&1; then
    exec pacman -Sy --noconfirm --needed "$@"
fi
echo "no package manager is there that imgraft knows" >&2
exit 127
