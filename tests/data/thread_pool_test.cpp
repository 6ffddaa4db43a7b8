#include "data/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace wt {
namespace {

TEST(ThreadPool, FuturesGiveResultsAndErrorsInOrder) {
  ThreadPool pool(3);
  EXPECT_EQ(pool.size(), 3u);
  std::vector<std::future<int>> results;
  for (int i = 0; i < 100; ++i) {
    results.push_back(pool.submit([i] {
      if (i == 50) throw std::runtime_error("fifty");
      return i * i;
    }));
  }
  for (int i = 0; i < 100; ++i) {
    if (i == 50) {
      EXPECT_THROW(results[50].get(), std::runtime_error);
    } else {
      EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), i * i);
    }
  }
}

TEST(ThreadPool, WhatWaitsIsDropped) {
  std::atomic<int> begun{0};
  std::atomic<bool> go{false};
  std::thread opener;
  {
    ThreadPool pool(1);
    for (int i = 0; i < 1000; ++i) {
      pool.submit([&] {
        ++begun;
        while (!go) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      });
    }
    opener = std::thread([&] { go = true; });
  }
  opener.join();
  EXPECT_LT(begun, 900);
}

}  // namespace
}  // namespace wt
