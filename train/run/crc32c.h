// CRC-32C (Castagnoli, RFC 3720): the checksum of checkpoints and of TensorBoard's event files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wt {

// The checksum of the bytes; `before` continues that of the bytes in front of them.
std::uint32_t crc32c(const void* bytes, std::size_t count, std::uint32_t before = 0);

}  // namespace wt
