#!/bin/sh
# Copies what Culvert needs at run time out of a Debian into the directory $1: three programs, the libraries they are linked
# with, OpenSSL's providers, certificates, names. For scanners the packages they came from are listed as distroless images do.
set -eu
root=$1
libraries=/usr/lib/$(ls /usr/lib | grep -- '-linux-gnu$' | head -n 1)

mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc/ssl/certs" "$root/etc/culvert" \
  "$root/var/lib/dpkg/status.d" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done
chmod 1777 "$root/tmp"
: > "$root/files"

# The file behind all links, under the name it was asked for: that is the name the dynamic linker looks for.
take() {
  place=$(readlink -f "$(dirname "$1")")/$(basename "$1")
  mkdir -p "$root$(dirname "$place")"
  cp -L "$place" "$root$place"
  readlink -f "$place" >> "$root/files"
}

ip=$(command -v ip)
nft=$(command -v nft)
for program in "$ip" "$nft"; do take "$program"; done
for module in "$libraries"/ossl-modules/*.so; do take "$module"; done
for file in "$libraries/libssl.so.3" "$libraries/libcrypto.so.3" $(
  ldd /usr/bin/culvert "$ip" "$nft" "$libraries/libssl.so.3" "$libraries/libcrypto.so.3" |
    sed -n -e 's|^.* => \(/[^ ]*\) .*|\1|p' -e 's|^[[:space:]]*\(/[^ ]*ld-linux[^ ]*\) .*|\1|p'
); do take "$file"; done

mkdir -p "$root/usr/share"
cp -a /usr/share/iproute2 "$root/usr/share/"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/os-release "$root/etc/os-release"
printf 'root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n' > "$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"

# dpkg knows a file by the name it was packed with, with or without /usr.
sort -u "$root/files" | while read -r file; do
  dpkg -S "$file" 2>/dev/null || dpkg -S "${file#/usr}" 2>/dev/null || true
done | sed 's/:.*//' | { cat; echo ca-certificates; echo base-files; } | sort -u | while read -r package; do
  dpkg -s "$package" > "$root/var/lib/dpkg/status.d/$package"
  # The licences under which they may be passed on.
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
rm "$root/files"
