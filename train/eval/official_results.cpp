#include "train/eval/official_results.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/csv.h"

namespace wt {

std::string official_file_name(const std::string& task, const std::string& length, const std::string& config) {
  const auto unreadable = [](const std::string& text) {
    return text.empty() || std::any_of(text.begin(), text.end(), [](char c) {
             return c == '/' || static_cast<unsigned char>(c) < ' ' || c == '\x7f';
           });
  };
  if (unreadable(config)) {
    throw UsageError(
        "the configuration's name becomes part of a file's name: expected text without slashes, control "
        "characters and line breaks");
  }
  if (unreadable(length) || length.find('_') != std::string::npos) {
    throw UsageError(cat("length `", length, "`: becomes part of a file's name, expected 0k, 4k, 1M and the like"));
  }
  return cat(task, "_", length, "_", config);
}

std::string official_config_name(const TaskPrompt& prompt, const OfficialChat& chat) {
  const auto answer = [](const std::string& part) { return part.empty() ? "no" : "yes"; };
  return cat("instruction_", answer(prompt.instruction), "_examples_", answer(prompt.examples), "_post_prompt_",
             answer(prompt.post_prompt), "_chat_template_", chat.used ? "yes" : "no", "_system_prompt_",
             answer(chat.system));
}

std::string official_csv(const std::vector<EvalAnswer>& answers) {
  std::string out = ",target,output,question\n";
  std::int64_t index = 0;
  for (const EvalAnswer& answer : answers) {
    out += cat(index++, ",", csv_field(answer.target), ",", csv_field(answer.output), ",", csv_field(answer.question),
               "\n");
  }
  return out;
}

std::string official_json(const OfficialSettings& settings) {
  using Json = nlohmann::ordered_json;
  Json out;
  out["prompt"] = {{"instruction", settings.prompt.instruction}, {"examples", settings.prompt.examples},
                   {"post_prompt", settings.prompt.post_prompt}, {"template", settings.prompt.pattern},
                   {"chat_template", settings.chat.used},        {"system_prompt", settings.chat.system}};
  out["generate_kwargs"] = {{"max_new_tokens", settings.max_new_tokens},
                            {"max_length", nullptr},
                            {"num_beams", 1},
                            {"do_sample", false},
                            {"temperature", nullptr},
                            {"top_p", nullptr},
                            {"top_k", nullptr}};
  out["wavetape"] = {{"model", settings.model},
                     {"tokenizer", settings.tokenizer},
                     {"dtype", settings.dtype},
                     {"schedule", settings.schedule},
                     {"set", settings.set.empty() ? Json(nullptr) : Json(settings.set)},
                     {"seed", settings.set.empty() ? Json(settings.seed) : Json(nullptr)}};
  return out.dump(4, ' ', true, Json::error_handler_t::replace);
}

}  // namespace wt
