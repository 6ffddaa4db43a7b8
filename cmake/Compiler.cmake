# Flags of every target: C++20, one instruction set, warnings as errors, optional sanitizers and coverage.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
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
target_include_directories(wavetape_flags INTERFACE ${PROJECT_SOURCE_DIR})
# -fno-math-errno and -fno-trapping-math let the compiler vectorise sqrt, min and selects; neither changes a value.
target_compile_options(wavetape_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-march=${WAVETAPE_MARCH} -fno-math-errno -fno-trapping-math -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror
  # GCC 12 sees overlapping copies in std::string's operator+ that are not there (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>>)
target_link_options(wavetape_flags INTERFACE -static-libstdc++ -static-libgcc)

if(WAVETAPE_SANITIZE)
  target_compile_options(wavetape_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${WAVETAPE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all>)
  target_link_options(wavetape_flags INTERFACE -fsanitize=${WAVETAPE_SANITIZE})
  # The pool hides overflows between its blocks from the sanitizers.
  target_compile_definitions(wavetape_flags INTERFACE WAVETAPE_NO_POOL)
endif()
if(WAVETAPE_COVERAGE)
  target_compile_options(wavetape_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:--coverage -fprofile-update=atomic>)
  target_link_options(wavetape_flags INTERFACE --coverage)
endif()
