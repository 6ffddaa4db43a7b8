#include "train/eval/eval_request.h"

#include <algorithm>

#include "core/text.h"
#include "train/metrics.h"

namespace wt {

EvalSettings eval_settings_of(const Config& config) {
  EvalSettings s{config.data, config.eval, config.seed.data};
  if (s.eval.tasks.empty()) s.eval.tasks = s.data.tasks();
  for (const StageConfig& stage : config.train.stages) {
    s.trained_segments = std::max(s.trained_segments, stage.max_segments());
  }
  return s;
}

EvalSettings resolve_settings(const EvalRequest& o, const ModelLocation& location) {
  EvalSettings s;
  s.data.books = "none";
  if (is_run_folder(o.model)) {
    const Config config = load_config(o.model + "/config.yaml");
    if (o.sets.empty()) check_data_files(config, o.babi.empty(), o.books.empty());
    s = eval_settings_of(config);
  }
  if (!location.tokenizer.empty()) s.data.tokenizer = location.tokenizer;
  if (!o.tokenizer.empty()) s.data.tokenizer = o.tokenizer;
  if (s.data.tokenizer.empty()) throw UsageError(cat(o.model, ": no tokenizer.json there; name one with --tokenizer"));
  if (!o.babi.empty()) s.data.babi = o.babi;
  if (!o.books.empty()) s.data.books = o.books;
  if (!o.tasks.empty()) s.eval.tasks = o.tasks;
  if (s.eval.tasks.empty()) s.eval.tasks = s.data.tasks();
  if (!o.lengths.empty()) s.eval.lengths = o.lengths;
  if (s.eval.lengths.empty()) s.eval.lengths = {s.data.is_retrieval() ? "1x" : "0k"};
  if (o.samples > 0) s.eval.samples = o.samples;
  if (o.batch_size > 0) s.eval.batch_size = o.batch_size;
  if (o.max_new_tokens > 0) s.eval.max_new_tokens = o.max_new_tokens;
  if (o.seed) s.seed = *o.seed;
  return s;
}

}  // namespace wt
