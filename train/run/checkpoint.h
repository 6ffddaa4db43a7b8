// The checkpoints of a run: folders checkpoints/step_00001234/ with
//   weights.safetensors  optimizer.safetensors  state.json  manifest.json (size and CRC-32C of the others)
// the file checkpoints/best with the name of the best one and, where a run trains part of its weights only, the others
// in checkpoints/base.safetensors: written once, when the run begins.
//
// A checkpoint is written to a temporary folder, every file flushed to disk, the manifest last, and the folder then
// renamed; so whatever moment the program is killed at, or the disk full, every folder under its final name is whole.
// What the disk damages later is found by size and checksum, reported, and the checkpoint before it used.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"

namespace wt {

struct Checkpoint {
  std::int64_t step = 0;
  std::string folder;
  SafetensorsFile weights;
  SafetensorsFile optimizer;
  std::string state_json;
};

enum class StoreMode : std::uint8_t { kRead, kWrite };

class CheckpointStore {
 public:
  using Report = std::function<void(const std::string& line)>;

  // kWrite makes the folder and removes what an interrupted save has left; only one process may have a store open so.
  CheckpointStore(const std::string& run_folder, StoreMode mode);

  // Throws Error (full disk, no permission), leaving all earlier checkpoints as they were. A checkpoint of the same
  // step is replaced. The tensors must not change meanwhile.
  void save(std::int64_t step, const NamedTensors& weights, const NamedTensors& optimizer,
            const std::string& state_json);
  // Weights that no step changes, once for all checkpoints (base.safetensors, with its checksum in base.json).
  void save_base(const NamedTensors& weights);
  // Their file, verified; "" where there is none. Throws Error where it is damaged.
  std::string base() const;

  // Names the best checkpoint; it must be there.
  void mark_best(std::int64_t step);
  // Removes all but the newest `count` and the best.
  void keep_newest(std::int64_t count);

  // Steps of the checkpoints there are, rising, whole or not.
  std::vector<std::int64_t> steps() const;
  std::optional<std::int64_t> best_step() const;
  std::string folder_of(std::int64_t step) const;

  // Reads and verifies one checkpoint. Throws Error saying which file is missing or damaged.
  Checkpoint load(std::int64_t step) const;
  // The newest whole one; nothing where there is none at all. Each damaged one on the way is reported in one line.
  // Throws Error where there are some but none is whole.
  std::optional<Checkpoint> load_newest(const Report& report) const;
  // The best one; where there is no best, or it is damaged (reported), the newest.
  std::optional<Checkpoint> load_best(const Report& report) const;

  const std::string& folder() const { return folder_; }

 private:
  void remove(const std::string& name);
  std::string folder_;
};

}  // namespace wt
