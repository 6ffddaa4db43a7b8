# Debian's cross compiler for 64-bit Arm: cmake -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake, with the libraries of
# packages.txt and libgomp1 installed as :arm64 (`dpkg --add-architecture arm64`); tests then run under qemu.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static)
