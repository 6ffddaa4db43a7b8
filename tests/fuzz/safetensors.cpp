#include "core/safetensors.h"

#include "tests/fuzz/target.h"

// Opened, and every byte of every tensor read: an offset outside the file would be a fault.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] {
    const SafetensorsFile file = SafetensorsFile::open(fuzz::file_with(data, size, ".safetensors"));
    for (const std::string& name : file.names()) {
      fuzz::only_errors([&] {
        const Tensor tensor = file.tensor(name);
        unsigned sum = 0;
        const auto* bytes = static_cast<const std::uint8_t*>(tensor.raw());
        for (std::size_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
        asm volatile("" : : "r"(sum));  // the sum is wanted, as far as the compiler knows
      });
    }
  });
}
