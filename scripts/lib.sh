# shellcheck shell=bash
# What the scripts share. Sourced by bash; needs nothing beyond a minimal Debian.
#
# Everything here works without a terminal, a locale, systemd, or a PATH that somebody prepared.

set -u -o pipefail

SPORE_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export SPORE_TOP
# Only the system's own tools: a python, meson or compiler installed elsewhere would be another one
# than the packages below belong to.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1
unset JAVA_HOME JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS CLASSPATH
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP CXXFLAGS CFLAGS CPPFLAGS LDFLAGS SPORE_SOCKET

# What the build needs, and what the product needs to run.
SPORE_BUILD_PACKAGES=(
  g++ meson ninja-build pkg-config python3 python3-dev
  libfmt-dev libexpected-dev libseccomp-dev libcap-dev liburing-dev libsystemd-dev libarchive-dev nettle-dev libssl-dev
  libboost-dev libsqlite3-dev
  libprotobuf-dev protobuf-compiler libtomlplusplus-dev nlohmann-json3-dev libcli11-dev
  default-jdk-headless libgoogle-gson-java
)
SPORE_TEST_PACKAGES=(libgtest-dev python3-pytest procps)
# What the functions of the end-to-end tests import, and the peers of the benchmark.
SPORE_E2E_PACKAGES=(
  python3-numpy libopenblas0-pthread python3-grpcio python3-jinja2 python3-chameleon python3-pil
  python3-pyaes python3-igraph
  curl git iproute2 openssl ca-certificates nodejs node-typescript node-terser node-ajv node-markdown-it node-postcss bubblewrap runc gcc libc6-dev
  libfreemarker-java libjackson2-databind-java golang-go rustc
  mmdebstrap zstd zsh fish
  python3-protobuf mypy python3-pip python3-setuptools python3-wheel
  golang-github-containerd-ttrpc-dev golang-google-protobuf-dev
  awscli python3-boto3 wrk tzdata chromium chromium-driver
)
SPORE_TIDY_PACKAGES=(git clang-format python3-pyflakes)
# What making Debian packages needs, and trying them in machines of their own.
SPORE_PACKAGING_PACKAGES=(build-essential debhelper dh-python dpkg-dev)
SPORE_MACHINE_PACKAGES=(debootstrap qemu-system-x86 e2fsprogs)
SPORE_QEMU_PACKAGES=(qemu-system-x86 busybox-static cpio dpkg)

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "$1 must run as root (it installs packages and makes sandboxes)"
}

need_debian() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    die "no apt-get here: this script knows Debian 12 and 13; elsewhere install what meson.build asks for"
}

# apt_install PACKAGE...: installs those that are not there yet; touches nothing when all are.
apt_install() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  note "apt-get install ${missing[*]}"
  local log
  log=$(mktemp) || return 1
  # A source that fails is no reason to stop: the packages may come from the others. What then is
  # missing is told by the install.
  apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 ||
    { note "apt-get update had errors:"; grep -E '^(E|W|Err)' "$log" | sed 's/^/     /' | head -5; }
  if ! apt-get -q -y --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    install "${missing[@]}" </dev/null >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# The mirror from which this machine's apt takes Debian's "main" packages.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(LABEL) $(COMPONENT) $(CREATED_BY)' 2>/dev/null |
    awk '$2 == "Debian" && $3 == "main" && $4 == "Packages" {print $1; exit}' | sed 's,/$,,'
}

SPORE_CRIU_SUITE=trixie

# run_criu USR ARGUMENT...: as spored does, through the loader that came with it.
run_criu() {
  local usr=$1
  shift
  "$usr/lib64/ld-linux-x86-64.so.2" --library-path "$usr/lib/x86_64-linux-gnu" "$usr/sbin/criu" "$@"
}

# bring_criu PREFIX: a CRIU that works on this kernel, for spored's checkpoints. The host's own when
# that does, else the one of a later Debian with all of its libraries in PREFIX, where nothing else
# looks. Debian 12's does not start on kernels since 6.13.
bring_criu() {
  local prefix=$1 usr
  for usr in "$prefix/usr" /usr; do
    [ -x "$usr/sbin/criu" ] && run_criu "$usr" check >/dev/null 2>&1 && return 0
  done
  local mirror work log
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || { note "apt names no mirror for Debian's main packages"; return 1; }
  work=$(mktemp -d) || return 1
  mkdir -p "$work"/{lists,cache/archives,parts,root}/ "$work/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $SPORE_CRIU_SUITE main" \
    >"$work/sources.list"
  log=$work/log
  local apt=(apt-get -q -y -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Languages=none
    -o APT::Keep-Downloaded-Packages=true)
  note "criu of Debian $SPORE_CRIU_SUITE, with its libraries, for $prefix"
  local package
  if ! { "${apt[@]}" update && "${apt[@]}" --no-install-recommends --download-only install criu; } >"$log" 2>&1 ||
    ! for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/root" || break; done ||
    ! run_criu "$work/root/usr" check >>"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -rf "$work"
    return 1
  fi
  # What is not needed to run it, or to give it away.
  rm -rf "$work"/root/usr/lib/x86_64-linux-gnu/gconv
  find "$work/root/usr/share" -depth ! -type d ! -name copyright -delete -o -type d -empty -delete
  rm -rf "$prefix"
  mkdir -p "$(dirname "$prefix")" && chmod 0755 "$work/root" && cp -a "$work/root" "$prefix"
  local failed=$?
  rm -rf "$work"
  return $failed
}

is_mounted() { grep -q "^[^ ]* $1 " /proc/self/mounts; }

# The kernel's file systems, where a bare root (a chroot, say) lacks them.
prepare_host() {
  mkdir -p /proc /sys /run /tmp /var/tmp
  [ -e /proc/self/mounts ] || mount -t proc proc /proc || die "/proc cannot be mounted"
  [ -d /sys/kernel ] || { note "mounting /sys"; mount -t sysfs sysfs /sys; }
  # The cgroup hierarchies that the kernel has, where none is mounted. A line of /proc/self/cgroup is
  # "id:controllers:path"; id 0 is the v2 tree (cgroups(7)).
  grep -Eq '^[^ ]+ /sys/fs/cgroup[^ ]* cgroup2? ' /proc/self/mounts && return 0
  note "mounting the cgroup hierarchies on /sys/fs/cgroup"
  if ! grep -qv '^0::' /proc/self/cgroup; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    return
  fi
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup || return
  local id controllers
  while IFS=: read -r id controllers _; do
    local dir=/sys/fs/cgroup/${controllers#name=}
    [ "$id" = 0 ] && dir=/sys/fs/cgroup/unified
    mkdir -p "$dir"
    if [ "$id" = 0 ]; then
      mount -t cgroup2 cgroup2 "$dir"
    else
      [[ $controllers == name=* ]] && controllers=none,$controllers
      mount -t cgroup -o "$controllers" cgroup "$dir" || rmdir "$dir"
    fi
  done </proc/self/cgroup
}

# How many compilers at once: one a CPU, but a gigabyte of memory for each.
build_jobs() {
  local cpus memory
  cpus=$(nproc)
  memory=$(awk '/^MemAvailable/ {print int($2 / 1000000)}' /proc/meminfo)
  [ "${memory:-1}" -lt 1 ] && memory=1
  echo $((cpus < memory ? cpus : memory))
}

# build_tree DIR MESON-OPTION...: configures DIR (again, when the options changed) and builds all of
# it, or the targets in NINJA_TARGETS.
build_tree() {
  local dir=$1 stamp="$1/.spore-options" setup=()
  shift
  if [ -f "$dir/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" != "$*" ]; then setup=(--wipe); fi
  if [ ! -f "$dir/build.ninja" ] || [ "${#setup[@]}" -gt 0 ]; then
    local compiler=g++
    command -v ccache >/dev/null && compiler="ccache g++"
    rm -f "$stamp"
    [ -d "$dir" ] && [ ! -f "$dir/build.ninja" ] && rm -rf "$dir"
    CXX=$compiler meson setup "${setup[@]}" "$dir" "$SPORE_TOP" "$@" >"$dir.log" 2>&1 ||
      { tail -n 30 "$dir.log" >&2; return 1; }
    printf '%s' "$*" >"$stamp"
    rm -f "$dir.log"
  fi
  local targets
  read -ra targets <<<"${NINJA_TARGETS:-}"
  if [ -t 1 ]; then
    ninja -C "$dir" -j "$(build_jobs)" "${targets[@]}"
  elif ! ninja -C "$dir" -j "$(build_jobs)" "${targets[@]}" >"$dir/ninja.log" 2>&1; then
    grep -v '^\[[0-9]*/[0-9]*\]' "$dir/ninja.log" | tail -n 60 >&2
    return 1
  fi
}
