# Third-party libraries, each behind an interface target of ours. Static where Debian has the archive, so that a built
# program runs on any machine with glibc 2.36 or newer. Our headers include none of theirs: whoever uses the installed
# libraries needs the archives alone.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)

function(wavetape_header_dependency target header package)
  find_path(${target}_INCLUDE NAMES ${header} PATH_SUFFIXES eigen3)
  if(NOT ${target}_INCLUDE)
    message(FATAL_ERROR "${header} not found: install ${package} (./dev install lists everything)")
  endif()
  string(REPLACE wavetape_ "" name ${target})
  add_library(${target} INTERFACE)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${target} SYSTEM INTERFACE $<BUILD_INTERFACE:${${target}_INCLUDE}>)
endfunction()

wavetape_header_dependency(wavetape_eigen Eigen/Core libeigen3-dev)
# Tiles are spread over threads by our own loops with fixed boundaries, so that results do not depend on their number.
target_compile_definitions(wavetape_eigen INTERFACE EIGEN_DONT_PARALLELIZE EIGEN_NO_AUTOMATIC_RESIZING)

wavetape_header_dependency(wavetape_json nlohmann/json.hpp nlohmann-json3-dev)
wavetape_header_dependency(wavetape_cli CLI/CLI.hpp libcli11-dev)
wavetape_header_dependency(wavetape_fmt_headers fmt/format-inl.h libfmt-dev)
add_library(wavetape_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_library.cpp)
set_target_properties(wavetape_fmt PROPERTIES EXPORT_NAME fmt)
target_link_libraries(wavetape_fmt PUBLIC wavetape_flags $<BUILD_INTERFACE:wavetape_fmt_headers>)
wavetape_header_dependency(wavetape_xxhash xxhash.h libxxhash-dev)
target_compile_definitions(wavetape_xxhash INTERFACE XXH_INLINE_ALL)

function(wavetape_archive_dependency target header package)
  wavetape_header_dependency(${target} ${header} ${package})
  foreach(name ${ARGN})
    find_library(${target}_${name} NAMES lib${name}.a PATH_SUFFIXES hdf5/serial)
    if(NOT ${target}_${name})
      message(FATAL_ERROR "lib${name}.a not found: install ${package} (./dev install lists everything)")
    endif()
    target_link_libraries(${target} INTERFACE ${${target}_${name}})
  endforeach()
endfunction()

wavetape_archive_dependency(wavetape_yaml yaml-cpp/yaml.h libyaml-cpp-dev yaml-cpp)
wavetape_archive_dependency(wavetape_pcre2 pcre2.h libpcre2-dev pcre2-8)
target_compile_definitions(wavetape_pcre2 INTERFACE PCRE2_CODE_UNIT_WIDTH=8)
find_path(WAVETAPE_HDF5_INCLUDE NAMES hdf5.h PATH_SUFFIXES hdf5/serial)
wavetape_archive_dependency(wavetape_hdf5 zlib.h "libhdf5-dev zlib1g-dev libaec-dev" hdf5_serial sz aec z)
target_include_directories(wavetape_hdf5 SYSTEM INTERFACE $<BUILD_INTERFACE:${WAVETAPE_HDF5_INCLUDE}>)
target_link_libraries(wavetape_hdf5 INTERFACE ${CMAKE_DL_LIBS} m)

add_library(wavetape_openmp INTERFACE)
set_target_properties(wavetape_openmp PROPERTIES EXPORT_NAME openmp)
target_link_libraries(wavetape_openmp INTERFACE OpenMP::OpenMP_CXX)
