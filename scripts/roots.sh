# shellcheck shell=bash
# Debian roots that nobody prepared, made by debootstrap and entered by chroot. Sourced after lib.sh.

# What lets apt and npm inside reach the same mirrors: configuration, certificates and name service.
carry_client_settings() {
  local root=$1 file
  for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*prox* /etc/apt/apt.conf.d/*cert* /etc/apt/auth.conf.d/*; do
    [ -f "$file" ] && install -D -m 644 "$file" "$root$file"
  done
  apt-config dump | grep -E '^Acquire::(http|https|ftp)::(Proxy|Ca|Verify)' \
    >"$root/etc/apt/apt.conf.d/90-carried" || true
  [ -d /usr/local/share/ca-certificates ] && cp -a /usr/local/share/ca-certificates "$root/usr/local/share/"
  [ -f /etc/ssl/certs/ca-certificates.crt ] &&
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  [ -f /etc/npmrc ] && cp -L /etc/npmrc "$root/etc/"
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
}

# make_root RELEASE ROOT LOG: a minimal Debian, with an empty /src.
make_root() {
  local release=$1 root=$2 log=$3 from
  from=$(debian_mirror)
  [ -n "$from" ] || die "apt names no mirror for Debian's main packages"
  mkdir -p "$root"
  debootstrap --variant=minbase "$release" "$root" "$from" >"$log" 2>&1 ||
    { tail -n 5 "$log" >&2; return 1; }
  carry_client_settings "$root"
  mkdir -p "$root/src"
}

# What a checkout holds: neither builds nor caches.
copy_tree() { tar -C "$SPORE_TOP" --exclude='./build*' --exclude=__pycache__ -cf - . | tar -C "$1" -xf -; }

# enter ROOT COMMAND: inside new mount and pid namespaces mounts the kernel's file systems into the root
# and enters it. CONTAINER=yes makes "/" a mount point; CCACHE_FROM is a folder to have as /ccache.
enter() {
  local root=$1 command=$2
  env -i PATH="$PATH" HOME=/root TERM=dumb root="$root" command="$command" CONTAINER="${CONTAINER:-no}" \
    CCACHE_FROM="${CCACHE_FROM:-}" unshare --mount --pid --fork --kill-child --propagation private bash -c '
      [ "$CONTAINER" = yes ] && mount --bind "$root" "$root"
      mount -t proc proc "$root/proc"
      mount --rbind /sys "$root/sys"
      mount --rbind /dev "$root/dev"
      if [ -n "$CCACHE_FROM" ]; then
        mkdir -p "$root/ccache" && mount --bind "$CCACHE_FROM" "$root/ccache" && export CCACHE_DIR=/ccache
      fi
      exec chroot "$root" /bin/bash -c "cd /src && $command"'
}
