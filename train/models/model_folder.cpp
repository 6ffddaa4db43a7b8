#include "train/models/model_folder.h"

#include <filesystem>
#include <initializer_list>

#include "core/error.h"
#include "core/files.h"
#include "core/temporary.h"

namespace wt {
namespace fs = std::filesystem;

void make_folder(const std::string& folder, const std::function<void(const std::string& partial)>& fill) {
  // "out/" is the folder out.
  fs::path target = fs::path(folder).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  if (fs::exists(fs::symlink_status(target))) throw UsageError(cat(folder, ": exists already; name a new folder"));
  make_folders(folder_of(target.string()));
  Temporary partial(target.string(), Temporary::Kind::kFolder, 0777);
  fill(partial.path());
  sync_folder(partial.path());
  partial.rename_to(target.string());
  sync_folder(folder_of(target.string()));
}

namespace {

void copy_files(const std::string& from, const std::string& to, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const fs::path source = fs::path(from) / name;
    if (fs::is_regular_file(source)) write_file((fs::path(to) / name).string(), read_file(source.string()));
  }
}

}  // namespace

void copy_side_files(const std::string& from, const std::string& to) {
  copy_files(from, to, {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model", "generation_config.json"});
  copy_tokenizer_settings(from, to);
}

void copy_tokenizer(const std::vector<std::string>& files, const std::string& to) {
  for (const std::string& file : files) {
    const fs::path name = files.size() == 1 ? fs::path("tokenizer.json") : fs::path(file).filename();
    write_file((fs::path(to) / name).string(), read_file(file));
  }
  if (!files.empty()) copy_tokenizer_settings(fs::path(files.front()).parent_path().string(), to);
}

void copy_tokenizer_settings(const std::string& from, const std::string& to) {
  copy_files(from, to,
             {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
              "chat_template.json"});
}

}  // namespace wt
