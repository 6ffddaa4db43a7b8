#include "core/staging_cuda.h"

#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "core/cuda.h"
#include "core/cuda_check.h"

namespace wt::cuda {
namespace {

constexpr std::size_t kRingBytes = std::size_t{16} << 20;
constexpr std::size_t kMostStaged = kRingBytes / 4;
constexpr std::size_t kAlign = 64;
constexpr std::size_t kMostCopies = 4096;  // in flight

// Pinned memory of one device, used round and round. A place is free again when the copy from it is done.
class Ring {
 public:
  explicit Ring(int device) {
    use_device(device);
    void* pointer = nullptr;
    WT_CUDA(cudaHostAlloc(&pointer, kRingBytes, cudaHostAllocDefault));
    base_ = static_cast<char*>(pointer);
  }

  void upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    if (at_ + bytes > kRingBytes) {
      while (!copies_.empty() && copies_.front().begin >= at_) wait_for_oldest();
      at_ = 0;
    }
    const std::size_t begin = at_, end = begin + bytes;
    // Those in flight lie behind one another in their order, around the ring: the oldest is the next ahead.
    while (!copies_.empty() &&
           ((copies_.front().begin < end && begin < copies_.front().end) || copies_.size() >= kMostCopies)) {
      wait_for_oldest();
    }
    std::memcpy(base_ + begin, from, bytes);
    WT_CUDA(cudaMemcpyAsync(to, base_ + begin, bytes, cudaMemcpyHostToDevice, stream));
    copies_.push_back({begin, end, new_event()});
    WT_CUDA(cudaEventRecord(copies_.back().done, stream));
    at_ = (end + kAlign - 1) / kAlign * kAlign;
  }

 private:
  struct Copy {
    std::size_t begin, end;
    cudaEvent_t done;
  };

  void wait_for_oldest() {
    WT_CUDA(cudaEventSynchronize(copies_.front().done));
    spare_.push_back(copies_.front().done);
    copies_.pop_front();
  }
  cudaEvent_t new_event() {
    cudaEvent_t event = nullptr;
    if (spare_.empty()) {
      WT_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    } else {
      event = spare_.back();
      spare_.pop_back();
    }
    return event;
  }

  char* base_ = nullptr;
  std::size_t at_ = 0;
  std::deque<Copy> copies_;  // in the order of their beginning
  std::vector<cudaEvent_t> spare_;
};

}  // namespace

void upload(void* to, const void* from, std::size_t bytes, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  if (bytes > kMostStaged) {
    WT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, queue));
    return synchronize(stream);
  }
  static std::mutex mutex;
  static auto& rings = *new std::map<int, Ring>;  // never destroyed: CUDA may be gone first
  const std::lock_guard lock(mutex);
  const int device = device_of(stream);
  auto found = rings.find(device);
  if (found == rings.end()) found = rings.emplace(device, Ring(device)).first;
  found->second.upload(to, from, bytes, queue);
}

}  // namespace wt::cuda
