#include "train/models/import.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/files.h"
#include "layers/model.h"
#include "train/models/memory_config.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"
#include "train/models/model_io.h"
#include "train/models/model_source.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// The deviation of a table's elements, as torch.std has it (over n - 1), a block of rows at a time.
double deviation_of(const Tensor& table) {
  constexpr std::int64_t kRows = 4096;
  double sum = 0, squares = 0;
  for (std::int64_t row = 0; row < table.dim(0); row += kRows) {
    const Tensor block = table.slice(row, std::min(row + kRows, table.dim(0))).to(Stream{}, DType::kF32);
    const float* values = block.data<float>();
    for (std::int64_t i = 0; i < block.numel(); ++i) {
      const double value = values[i];
      sum += value;
      squares += value * value;
    }
  }
  const auto n = static_cast<double>(table.numel());
  return std::sqrt(std::max(0.0, squares - sum * sum / n) / std::max(1.0, n - 1));
}

// The table's rows, then fresh ones.
StoredTensor grown(const StoredTensor& table, const PublishedSpec& spec, std::uint64_t seed) {
  const PublishedSpec added{spec.name, {spec.shape[0] - table.shape[0], spec.shape[1]}, spec.init};
  const StoredTensor rows = stored_as(spec.name, table.dtype, draw_published(added, seed));
  const auto bytes = std::make_shared<std::string>(cat(table.bytes, rows.bytes));
  return {spec.name, table.dtype, spec.shape, *bytes, bytes};
}

}  // namespace

ImportReport import_model(const std::string& source, const ImportOptions& options, const std::string& target) {
  const ModelLocation location = find_model(source, {}, options.adapter_base);
  if (!location.base.empty()) throw UsageError(cat(source, ": a run with frozen weights; export it first"));
  ModelSource from = open_source(location);
  const ModelConfig& backbone = from.config;
  if (backbone.has_memory()) throw UsageError(cat(source, ": is wrapped in a memory already"));
  if (backbone.has_positions() && options.armt.segment_size > backbone.max_positions) {
    throw UsageError(cat("--segment-size ", options.armt.segment_size, ": the position table of ", location.config,
                         " has ", backbone.max_positions, " rows"));
  }
  ModelConfig wrapped = backbone;
  wrapped.armt = options.armt;
  const std::string config_text = updated_config(read_file(location.config), location.config, wrapped);
  const ModelConfig config = parse_model_config(config_text, location.config);

  const Model names(config, DType::kF32, {}, WeightUse::kNamesOnly);
  const WeightMap::Place table = from.map.require(table_name(config), false);
  WT_CHECK(table.shape() == (Shape{config.vocab_size, config.hidden_size}), table.file->path(), ": tensor ", table.name,
           " is ", table.shape(), ", config.json says ", Shape{config.vocab_size, config.hidden_size});

  ImportReport report;
  report.dtype = table.file->stored_dtype(table.name);
  report.has_tokenizer = !location.tokenizer.empty();
  std::vector<StoredTensor> tensors;
  for (PublishedSpec spec : names.parameters().published_specs()) {
    report.parameters += spec.shape.numel();
    if (spec.parameter->role == Role::kMemory) {
      if (spec.parameter->layers.empty()) {  // memory tokens are as large as others
        spec.init = Init::normal(deviation_of(table.file->tensor(table.name)));
      }
      tensors.push_back(stored_as(spec.name, report.dtype, draw_published(spec, options.seed)));
      report.fresh += spec.shape.numel();
      continue;
    }
    const WeightMap::Place& place = from.map.require(spec.name, true);
    const std::string& dtype = place.file->stored_dtype(place.name);
    WT_CHECK(dtype == "F64" || dtype == "F32" || dtype == "BF16" || dtype == "F16", place.file->path(), ": tensor ",
             place.name, " is ", dtype, ": quantised weights are not supported, expected F32, BF16 or F16");
    StoredTensor tensor = from.stored(place, spec.name);
    if (names.is_position_table(*spec.parameter) && tensor.shape == Shape{config.max_positions, config.hidden_size}) {
      report.fresh += spec.shape.numel() - tensor.shape.numel();
      tensor = grown(tensor, spec, options.seed);
    }
    WT_CHECK(tensor.shape == spec.shape, place.file->path(), ": tensor ", place.name, " is ", tensor.shape,
             ", the config expects ", spec.shape);
    tensor.name = spec.name;
    tensors.push_back(std::move(tensor));
  }
  from.finish();
  report.merged = static_cast<std::int64_t>(from.adapters.size());

  make_folder(target, [&](const std::string& partial) {
    write_stored_tensors((fs::path(partial) / "model.safetensors").string(), tensors, {{"format", "pt"}});
    write_model_config(partial, config, config_text);
    copy_side_files_of(location, partial);
  });
  return report;
}

}  // namespace wt
