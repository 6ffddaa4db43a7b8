// A few threads that take work in the order it comes; each piece of work gives a future, so that whoever waits for them
// in order gets results in order.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace wt {

class ThreadPool {
 public:
  // Cores that this process may use.
  static std::size_t num_cores() { return std::max(1u, std::thread::hardware_concurrency()); }
  explicit ThreadPool(std::size_t num_threads = num_cores()) {
    try {
      while (threads_.size() < num_threads) threads_.emplace_back([this] { work(); });
    } catch (...) {
      if (!threads_.empty()) return;  // the system gives no more: those there are will do
      throw;
    }
  }
  // What has begun is finished, what waits is dropped.
  ~ThreadPool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t size() const { return threads_.size(); }

  // The future gives what `job` returns or throws.
  template <class Job>
  auto submit(Job job) -> std::future<decltype(job())> {
    // Shared, because std::function copies.
    const auto task = std::make_shared<std::packaged_task<decltype(job())()>>(std::move(job));
    auto result = task->get_future();
    {
      const std::lock_guard lock(mutex_);
      waiting_.emplace_back([task] { (*task)(); });
    }
    wake_.notify_one();
    return result;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      const std::function<void()> job = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace wt
