// wavetape generate: continue a prompt.
#include "train/generate.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "data/chat.h"
#include "data/tokenizer.h"
#include "train/commands/commands.h"
#include "train/model_io.h"

namespace wt {
namespace {

struct Options {
  std::string model, prompt, system, tokenizer, dtype = "f32", device = "auto", schedule = "diagonal";
  std::vector<std::int32_t> ids;
  GenerateOptions generation;
  bool has_prompt = false, keep_going = false, chat = false, no_special = false;
};

void run(Options o) {
  if (o.has_prompt == !o.ids.empty()) throw UsageError("generate: give either --prompt or --input-ids");
  o.generation.schedule = schedule_from_name(o.schedule);
  const DType dtype = dtype_from_name(o.dtype);
  const Stream stream(device_for(o.device, dtype));
  const ModelLocation location = find_model(o.model);
  const auto model = load_model(location, dtype, stream);
  std::optional<Tokenizer> tokenizer;
  std::vector<std::int32_t> stop_ids;
  if (o.has_prompt) {
    const std::string path = o.tokenizer.empty() ? location.tokenizer : o.tokenizer;
    if (path.empty()) throw UsageError(cat(o.model, ": no tokenizer.json there; name one with --tokenizer"));
    tokenizer = Tokenizer::load(path);
    if (o.chat) {
      const ChatTemplate chat =
          find_chat_template(std::filesystem::path(location.config).parent_path().string(), *tokenizer);
      std::vector<ChatMessage> messages;
      if (!o.system.empty()) messages.push_back({"system", o.system});
      messages.push_back({"user", o.prompt});
      o.ids = encode_chat(chat, messages, *tokenizer);
      stop_ids.push_back(chat_stop_id(chat, *tokenizer));
    } else {
      o.ids = tokenizer->encode(o.prompt, {.add_special_tokens = !o.no_special});
    }
    if (o.ids.empty()) throw UsageError("generate: the prompt is empty");
  }
  for (const std::int32_t id : o.ids) {
    if (id < 0 || id >= model->config().vocab_size) {
      throw UsageError(cat("generate: id ", id, " is not in the vocabulary of ", model->config().vocab_size));
    }
  }
  if (model->config().eos_id >= 0) stop_ids.push_back(static_cast<std::int32_t>(model->config().eos_id));
  if (!o.keep_going && o.has_prompt) o.generation.stop_ids = stop_ids;
  bool first = true;
  generate(*model, {o.ids}, o.generation, [&](int, std::int32_t id) {
    if (tokenizer) {
      std::printf("%s", tokenizer->is_special(id) ? "" : tokenizer->piece(id).c_str());
    } else {
      std::printf("%s%d", first ? "" : ",", id);
    }
    first = false;
    std::fflush(stdout);
  });
  std::printf("\n");
}

}  // namespace

void add_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt");
  command->add_option("model", o->model, "Model or run folder")->required();
  auto* prompt =
      command->add_option("--prompt", o->prompt, "Text to continue; the continuation is printed as it comes");
  auto* ids = command->add_option("--input-ids", o->ids, "Token ids to continue; new ids are printed, comma-separated");
  ids->delimiter(',')->excludes(prompt);
  auto* chat = command->add_flag(
      "--chat", o->chat, "The prompt is what a user says: put it into the model's chat template (Llama 3 or ChatML)");
  chat->needs(prompt);
  command->add_option("--system", o->system, "With --chat: the system message")->needs(chat);
  command->add_flag("--no-special", o->no_special, "Without the tokens that the tokenizer puts around a text (BOS)")
      ->needs(prompt);
  command->add_option("--max-new-tokens", o->generation.max_new_tokens, "Tokens to generate at most")
      ->required()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--temperature", o->generation.temperature, "0: greedy; else draw from the softened distribution")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-p", o->generation.top_p, "Draw from the likeliest tokens of this total probability")
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1.0));
  command->add_option("--seed", o->generation.seed, "Seed of the draws")->capture_default_str();
  command->add_flag("--ignore-eos", o->keep_going, "With --prompt: go on behind end-of-text");
  command->add_option("--tokenizer", o->tokenizer, "A tokenizer.json; default: the model folder's");
  command->add_option("--schedule", o->schedule, "sequential, diagonal or streaming")->capture_default_str();
  command->add_option("--dtype", o->dtype, "f32, f64, or bf16 (weights rounded to bf16)")->capture_default_str();
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->footer(
      "Example: wavetape generate runs/quickstart --prompt ' Mary went to the office. Where is Mary?<|gen|>' "
      "--max-new-tokens 4");
  command->callback([o, prompt] {
    o->has_prompt = prompt->count() > 0;
    run(*o);
  });
}

}  // namespace wt
