// Prepares batches ahead of their use, in worker threads. Batch i is whatever make(i) returns, a pure function of i, so
// the stream is the same whatever the number of threads, and can be taken up again at any i.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace wt {

struct LoaderOptions {
  int num_threads = 1;               // 0: make each batch when it is asked for, in the caller's thread
  std::int64_t batches_at_once = 1;  // that the consumer takes one right after another
  std::uint64_t first_index = 0;

  // Batches ready or in the making, beyond those in use: what is taken at once (but three, and not hundreds), and one
  // more in every thread's hands.
  std::size_t num_prefetch() const {
    return static_cast<std::size_t>(num_threads + std::clamp<std::int64_t>(batches_at_once, 3, 256));
  }
};

template <class Batch>
class Loader {
 public:
  // `make` is called from several threads at once.
  Loader(std::function<Batch(std::uint64_t index)> make, LoaderOptions options)
      : make_(std::move(make)),
        options_(options),
        next_to_give_(options.first_index),
        next_to_make_(options.first_index) {
    WT_CHECK(make_ != nullptr, "loader: no function to make batches with");
    WT_CHECK(options_.num_threads >= 0, "loader: num_threads is ", options_.num_threads, ", expected at least 0");
    WT_CHECK(options_.batches_at_once >= 1, "loader: batches_at_once is ", options_.batches_at_once,
             ", expected at least 1");
    slots_.resize(options_.num_prefetch());
    try {
      for (int i = 0; i < options_.num_threads; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {
      stop();  // the system gave fewer threads than asked for
      throw;
    }
  }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  // Waits for the batches in the making, and drops what is ready.
  ~Loader() { stop(); }

  // The index of the batch that next() gives: save it to resume there.
  std::uint64_t next_index() const { return next_to_give_; }

  // The next batch, in order; waits until it is ready. For one consumer thread. Throws what make() threw for this
  // batch; after that, next() tries the same batch again.
  Batch next() {
    if (options_.num_threads == 0) {
      Batch batch = make_(next_to_give_);
      ++next_to_give_;
      return batch;
    }
    std::unique_lock lock(mutex_);
    Slot& slot = slot_of(next_to_give_);
    ready_.wait(lock, [&] { return slot.batch.has_value() || slot.error != nullptr; });
    if (slot.error != nullptr) {
      const std::exception_ptr error = std::exchange(slot.error, nullptr);
      retry_.push_back(next_to_give_);
      space_.notify_one();
      lock.unlock();
      std::rethrow_exception(error);
    }
    Batch batch = std::move(*slot.batch);
    slot.batch.reset();
    ++next_to_give_;
    space_.notify_one();
    return batch;
  }

 private:
  struct Slot {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };
  Slot& slot_of(std::uint64_t index) { return slots_[index % slots_.size()]; }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      // Batch i goes into slot i mod num_prefetch(), which is free once batch i - num_prefetch() was given.
      space_.wait(lock, [&] { return stopping_ || !retry_.empty() || next_to_make_ - next_to_give_ < slots_.size(); });
      if (stopping_) return;
      std::uint64_t index;
      if (!retry_.empty()) {
        index = retry_.front();
        retry_.pop_front();
      } else {
        index = next_to_make_++;
      }
      lock.unlock();
      Slot made;
      try {
        made.batch.emplace(make_(index));
      } catch (...) {
        made.batch.reset();
        made.error = std::current_exception();
      }
      lock.lock();
      slot_of(index) = std::move(made);
      ready_.notify_one();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    space_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  const std::function<Batch(std::uint64_t)> make_;
  const LoaderOptions options_;
  std::mutex mutex_;
  std::condition_variable ready_;  // a slot was filled
  std::condition_variable space_;  // a slot was emptied, or it is time to stop
  std::vector<Slot> slots_;
  std::deque<std::uint64_t> retry_;
  std::uint64_t next_to_give_;  // written by the consumer only, under the lock
  std::uint64_t next_to_make_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace wt
