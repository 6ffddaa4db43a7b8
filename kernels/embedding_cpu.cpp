#include <algorithm>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/embedding.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {

struct Entry {
  std::int32_t key;
  std::int32_t row;
};

// grad[key] += Σ dout[row] over the entries of that key, in row order.
template <class T>
void scatter_add(std::vector<Entry>& entries, const T* dout, std::int64_t d, T* grad) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.key < b.key; });
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i == 0 || entries[i].key != entries[i - 1].key) starts.push_back(i);
  }
  starts.push_back(entries.size());
  parallel_ranges(static_cast<std::int64_t>(starts.size()) - 1, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t run = begin; run < end; ++run) {
      const std::size_t first = starts[static_cast<std::size_t>(run)];
      auto sum = array(grad + entries[first].key * d, d);
      for (std::size_t i = first; i < starts[static_cast<std::size_t>(run) + 1]; ++i) {
        sum += const_array(dout + entries[i].row * d, d);
      }
    }
  });
}

}  // namespace

void embedding_forward(const Stream&, const Tensor& rows, const Tensor& position, const Tensor& table,
                       const Tensor& memory, const Tensor& positions, const Tensor& out) {
  const std::int64_t r = rows.numel(), d = table.dim(1);
  const std::int32_t* ids = rows.data<std::int32_t>();
  const std::int32_t* at = positions.defined() ? position.data<std::int32_t>() : nullptr;
  const std::int64_t num_memory = memory.defined() ? memory.dim(0) : 0;
  for (std::int64_t i = 0; i < r; ++i) {
    WT_CHECK(ids[i] < table.dim(0), "embedding: token id ", ids[i], " is not in the vocabulary of ", table.dim(0));
    WT_CHECK(ids[i] >= -1 - num_memory, "embedding: memory token ", -2 - ids[i], " of ", num_memory);
    if (at != nullptr) {
      WT_CHECK(at[i] >= -1 && at[i] < positions.dim(0), "embedding: position ", at[i], " is not in the table of ",
               positions.dim(0));
    }
  }
  dispatch_real(table.dtype(), [&]<class T>() {
    parallel_ranges(r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        auto line = array(out.data<T>() + i * d, d);
        if (ids[i] >= 0) {
          line = const_array(table.data<T>() + ids[i] * d, d);
        } else if (ids[i] == kPaddingRow) {
          line.setZero();
        } else {
          line = const_array(memory.data<T>() + (-2 - ids[i]) * d, d);
        }
        if (at != nullptr && at[i] >= 0) line += const_array(positions.data<T>() + at[i] * d, d);
      }
    });
  });
}

void embedding_backward(const Stream&, const Tensor& dout, const Tensor& rows, const Tensor& position,
                        const Tensor& dtable, const Tensor& dmemory, const Tensor& dpositions) {
  const std::int64_t r = rows.numel(), d = dout.shape()[-1];
  const std::int32_t* ids = rows.data<std::int32_t>();
  dispatch_real(dout.dtype(), [&]<class T>() {
    std::vector<Entry> tokens, memory, places;
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(r); ++i) {
      if (ids[i] >= 0) {
        tokens.push_back({ids[i], i});
      } else if (ids[i] != kPaddingRow) {
        memory.push_back({-2 - ids[i], i});
      }
      if (dpositions.defined() && position.data<std::int32_t>()[i] >= 0) {
        places.push_back({position.data<std::int32_t>()[i], i});
      }
    }
    if (dtable.defined()) scatter_add(tokens, dout.data<T>(), d, dtable.data<T>());
    if (dmemory.defined()) scatter_add(memory, dout.data<T>(), d, dmemory.data<T>());
    if (dpositions.defined()) scatter_add(places, dout.data<T>(), d, dpositions.data<T>());
  });
}

}  // namespace wt::kernels::cpu
