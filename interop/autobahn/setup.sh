# Installs the suite in $cache, with a Python 2.7 from pyenv, from the system, or from Debian 11's packages
# unpacked into the cache; otherwise with Docker. `run` sources this file, and defines $cache, say and die.
# Afterwards `(wstest DIR MODE SPEC)` runs the suite. DIR holds all files that it reads and writes.

suite_image=crossbario/autobahn-testsuite:0.8.2
# The newest version of each package that still runs on Python 2.7. The suite gives no upper bound for some of
# them.
requirements=(
    autobahntestsuite==0.8.2 autobahn==0.10.9 txaio==2.1.0 Twisted==20.3.0 zope.interface==5.5.2
    klein==20.6.0 Werkzeug==1.0.1 Jinja2==2.11.3 MarkupSafe==1.1.1 unittest2==1.1.0 six==1.16.0
    incremental==21.3.0 attrs==21.4.0 Automat==20.2.0 hyperlink==21.0.0 idna==2.10 constantly==15.1.0
    PyHamcrest==1.10.1 typing==3.10.0.0 setuptools==44.1.1
    pyOpenSSL==21.0.0 cryptography==3.3.2 service-identity==21.1.0
)

set_up() {
    mkdir -p "$cache"
    if [ -f "$cache/ready" ]; then
        # shellcheck disable=SC1091
        source "$cache/ready"
        if [ "$how" = docker ] || [ -x "$python" ]; then
            say "using $what"
            return
        fi
    fi
    if set_up_python; then
        how=python
    elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        docker pull --quiet "$suite_image" >/dev/null || die "Docker could not get $suite_image"
        how=docker python='' what="Docker's image $suite_image"
    else
        die "no Python 2.7 (pyenv, the system, Debian 11's packages) and no Docker engine: nothing can run the suite"
    fi
    declare -p how python what >"$cache/ready"
    # Inside a function, `declare` would make the variables local.
    sed -i 's/^declare -- //' "$cache/ready"
    say "using $what (set up now)"
}

# Finds a Python 2.7 on which the suite can be installed.
set_up_python() {
    local candidate
    while IFS= read -r candidate; do
        python=$candidate
        if install_suite; then
            what="$python with autobahntestsuite 0.8.2 in .cache/autobahn"
            return
        fi
        say "$python is no use: $(tail -n 1 "$cache/install.log")"
    done < <(candidates)
    if unpack_debian && install_suite; then
        what="Python 2.7 of Debian 11, unpacked, with autobahntestsuite 0.8.2 in .cache/autobahn"
        return
    fi
    return 1
}

candidates() {
    local pyenv path
    for pyenv in "${PYENV_ROOT-}" "$HOME/.pyenv" /opt/pyenv /usr/local/pyenv; do
        for path in "$pyenv"/versions/2.7.*/bin/python2.7; do
            if [ -n "$pyenv" ] && [ -x "$path" ]; then echo "$path"; fi
        done
    done | sort -u
    command -v python2.7 || true
}

# Installs the suite beside its Python, never into it.
install_suite() {
    local tools='' install
    "$python" -c 'import sys; assert sys.version_info[:2] == (2, 7)' 2>"$cache/install.log" || return 1
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        tools=$cache/tools
        rm -rf "$tools"
        fetch pip 20.3.4 && fetch setuptools 44.1.1 && fetch wheel 0.37.1 || return 1
    fi
    rm -rf "$cache/site"
    install=("$python" -m pip --disable-pip-version-check install --quiet --no-warn-script-location --target "$cache/site")
    PYTHONPATH=$tools "${install[@]}" "${requirements[@]}" >"$cache/install.log" 2>&1 || return 1
    # Masking and UTF-8 in C. Some machines have no compiler or no Python headers.
    PYTHONPATH=$tools "${install[@]}" --no-deps wsaccel==0.6.2 >>"$cache/install.log" 2>&1 ||
        say "wsaccel could not be built (no compiler?): the suite will be slow"
    "$python" "$here/wstest.py" "$cache/site" --help >>"$cache/install.log" 2>&1
}

# Unpacks a package into $tools for a Python without pip, with the pip of the installed Python 3.
fetch() {
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --python-version 27 --implementation py --abi none --platform any \
        --dest "$cache/wheels" "$1==$2" >"$cache/install.log" 2>&1 &&
        python3 -m zipfile -e "$cache/wheels/$1-$2"-*.whl "$tools"
}

# Unpacks Debian 11's python2.7 into the cache. Nothing is installed on the system.
unpack_debian() {
    local dir=$cache/debian arch package mirror
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    arch=$(dpkg --print-architecture)
    say "unpacking Python 2.7 of Debian 11 into .cache/autobahn"
    rm -rf "$dir" && mkdir -p "$dir/lists/partial" "$dir/archives/partial" "$dir/root"
    mirror=${DEBIAN_MIRROR:-$(debian_mirror)}
    if [ -z "$mirror" ]; then
        say "this machine has no Debian mirror; name one in DEBIAN_MIRROR"
        return 1
    fi
    echo "deb $mirror bullseye main" >"$dir/sources.list"
    local apt=(
        -o "Dir::Etc::sourcelist=$dir/sources.list" -o "Dir::Etc::sourceparts=-" -o "Dir::State::lists=$dir/lists"
        -o "Dir::Cache::archives=$dir/archives" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache="
        -o "APT::Architecture=$arch" -o "APT::Sandbox::User=root"
    )
    apt-get "${apt[@]}" --quiet=2 update >"$cache/install.log" 2>&1 || return 1
    for package in libpython2.7-minimal libpython2.7-stdlib python2.7-minimal libpython2.7-dev libpython2.7 \
        libssl1.1 libffi7; do
        (cd "$dir/archives" && apt-get "${apt[@]}" --quiet=2 download "$package") >>"$cache/install.log" 2>&1 || return 1
    done
    for package in "$dir"/archives/*.deb; do
        dpkg-deb --extract "$package" "$dir/root" || return 1
    done
    # A Python that finds its unpacked library, shared objects and headers.
    python=$dir/python2.7
    cat >"$python" <<SCRIPT
#!/bin/sh
export PYTHONHOME='$dir/root/usr' LD_LIBRARY_PATH='$dir/root/usr/lib/$(uname -m)-linux-gnu'
export C_INCLUDE_PATH='$dir/root/usr/include/python2.7:$dir/root/usr/include'
exec '$dir/root/usr/bin/python2.7' "\$@"
SCRIPT
    chmod +x "$python"
}

# The package mirror of this machine, so that it also works without access to the open network.
debian_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -n -E -e 's/^deb( \[[^]]*\])? ([^ ]*\/debian\/?) .*/\2/p' -e 's/^URIs: *([^ ]*\/debian\/?)$/\1/p' | head -n 1
}

# Call it in a subshell. The subshell becomes the suite, so its process id is the suite's.
wstest() {
    local dir=$1 mode=$2 spec=$3
    cd "$dir"
    if [ "$how" = docker ]; then
        exec docker run --rm --network host --volume "$dir:$dir" --workdir "$dir" "$suite_image" \
            wstest --mode "$mode" --spec "$spec"
    fi
    exec "$python" "$here/wstest.py" "$cache/site" --mode "$mode" --spec "$spec"
}
