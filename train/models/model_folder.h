// Writing a model folder: whole or not at all.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace wt {

// Calls `fill` with a folder beside `folder` (core/temporary.h) and gives it that name at the end. Throws UsageError
// where `folder` exists; whatever `fill` throws, and a signal, leaves nothing behind.
void make_folder(const std::string& folder, const std::function<void(const std::string& partial)>& fill);

// Copies the files that belong to a model beside its config and weights (tokenizer, chat template, generation defaults)
// as far as they are there.
void copy_side_files(const std::string& from, const std::string& to);
// The files a tokenizer came from (Tokenizer::files()), under the names that a model folder has for them: a single one,
// whatever it is called, becomes tokenizer.json. And beside them its settings.
void copy_tokenizer(const std::vector<std::string>& files, const std::string& to);
// Of these, what says how a tokenizer is used: its settings, special tokens and chat template.
void copy_tokenizer_settings(const std::string& from, const std::string& to);

}  // namespace wt
