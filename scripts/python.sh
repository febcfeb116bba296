# Sourced by the scripts beside it: finds a Python that is new enough, as $python.
for python in python3 python3.14 python3.13 python3.12 python3.11 ""; do
    if [ -z "$python" ]; then
        echo "DoPQ needs Python 3.11 or newer; this machine has $(python3 --version 2>&1 || echo none)." >&2
        echo "Debian 12, Ubuntu 24.04 and newer come with one: apt-get install python3" >&2
        exit 2
    fi
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
