# Flags of every target. What users of the installed libraries need with them is `wavetape_flags`; the rest holds in this
# folder alone.
option(WAVETAPE_WERROR "Warnings are errors: for those who work on wavetape" OFF)

# Eigen's types change layout with the vector width, and its inline functions meet at the link: one -march for every file,
# also of a program that links the libraries.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(wavetape_march x86-64-v3)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(wavetape_march armv8.2-a)
else()
  set(wavetape_march "")
endif()
set(WAVETAPE_MARCH "${wavetape_march}" CACHE STRING "Instruction set for the whole build (-march); empty: the compiler's")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT DEFINED CMAKE_POSITION_INDEPENDENT_CODE)
  set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")
# The sanitizers' preset: enough optimisation to run the tests in minutes, lines in reports, short compiles.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")

find_program(WAVETAPE_CCACHE ccache)
if(WAVETAPE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${WAVETAPE_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${WAVETAPE_CCACHE})
endif()

add_library(wavetape_flags INTERFACE)
set_target_properties(wavetape_flags PROPERTIES EXPORT_NAME flags)
target_compile_features(wavetape_flags INTERFACE cxx_std_20)
target_include_directories(wavetape_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/wavetape>)
if(WAVETAPE_MARCH)
  target_compile_options(wavetape_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=${WAVETAPE_MARCH}>)
endif()

# -fno-math-errno and -fno-trapping-math let the compiler vectorise sqrt, min and selects; neither changes a value.
set(wavetape_warnings -Wall -Wextra -Wshadow -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 sees overlapping copies in std::string's operator+ that are not there (GCC bug 105651).
  list(APPEND wavetape_warnings -Wno-restrict)
endif()
if(WAVETAPE_WERROR)
  list(APPEND wavetape_warnings -Werror)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno;-fno-trapping-math;${wavetape_warnings}>")
# A built program runs wherever glibc is as new as here.
add_link_options(-static-libstdc++ -static-libgcc)

if(WAVETAPE_SANITIZE)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${WAVETAPE_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>")
  add_link_options(-fsanitize=${WAVETAPE_SANITIZE})
  # The pool hides overflows between its blocks from the sanitizers.
  add_compile_definitions(WAVETAPE_NO_POOL)
endif()
if(WAVETAPE_COVERAGE)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:--coverage;-fprofile-update=atomic>")
  add_link_options(--coverage)
endif()
