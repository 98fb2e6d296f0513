#!/bin/sh
# Henge @VERSION@ (commit @COMMIT@) in one file. A double click, or `sh FILE`, unpacks it below your home folder, puts it
# into the menu, starts it and opens its page. Nothing needs root, and nothing else is changed.
#   sh FILE --extract DIR    unpack into DIR and do nothing else
#   sh FILE --remove         stop it and take away what was unpacked; the data stay
set -eu
version=@VERSION@
data_home=${XDG_DATA_HOME:-$HOME/.local/share}
place=$data_home/henge-program
entry=$data_home/applications/henge.desktop
icon=$data_home/icons/hicolor/scalable/apps/henge.svg

fail() {
  echo "henge: $1" >&2
  # Behind a double click there is no terminal to read this on.
  if [ ! -t 2 ]; then
    for teller in "zenity --error --text" "kdialog --error" "xmessage"; do
      command -v "${teller%% *}" >/dev/null 2>&1 && { $teller "Henge: $1" || true; break; }
    done
  fi
  exit 1
}

unpack() { # into the folder $1, which appears whole or not at all
  mkdir -p "$(dirname "$1")" || fail "the folder $(dirname "$1") cannot be made"
  beside=$1.unpacking.$$
  trap 'rm -rf "$beside"' EXIT
  rm -rf "$beside" && mkdir "$beside" || fail "the folder $beside cannot be made"
  found=$(tail -n +@LINES@ "$0" | sha256sum | cut -d' ' -f1)
  [ "$found" = @SHA256@ ] || fail "this file is damaged or was not downloaded to its end; get it again"
  tail -n +@LINES@ "$0" | tar -xzf - -C "$beside" --strip-components=1 || fail "it cannot be unpacked into $1; is the disk full?"
  if [ -e "$1" ]; then mv "$1" "$beside.old"; fi
  mv "$beside" "$1"
  rm -rf "$beside.old"
  trap - EXIT
}

case ${1:-} in
  --extract)
    [ -n "${2:-}" ] || fail "name the folder: sh $0 --extract DIR"
    [ ! -e "$2" ] || fail "$2 is there already; name a folder that is not"
    unpack "$2"
    exit 0
    ;;
  --remove)
    pid=$(cat "${HENGE_DATA:-$data_home/henge}/lock" 2>/dev/null || true)
    if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then
      case $(readlink "/proc/$pid/exe" 2>/dev/null) in "$place"/*) kill "$pid" ;; esac
    fi
    rm -rf "$place" "$entry" "$icon"
    echo "Henge is removed; what it stored is still in ${HENGE_DATA:-$data_home/henge}"
    exit 0
    ;;
  "") ;;
  *) fail "what does $1 mean? There are --extract DIR and --remove" ;;
esac

[ -x "$place/$version/henge" ] && [ "$(cat "$place/$version/.unpacked" 2>/dev/null)" = @SHA256@ ] || {
  unpack "$place/$version"
  echo @SHA256@ >"$place/$version/.unpacked"
}
mkdir -p "$(dirname "$entry")" "$(dirname "$icon")"
cp "$place/$version/_internal/web/static/icon.svg" "$icon"
cat >"$entry" <<END
[Desktop Entry]
Type=Application
Name=Henge
Comment=Open the monitoring page of this machine
Exec="$place/$version/henge" open
Icon=henge
Terminal=false
Categories=System;Monitor;Network;
END
exec "$place/$version/henge" open
