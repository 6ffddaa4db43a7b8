// Gradient checks in f64: what an op's backward gives against central differences of its forward, for every element of
// every input and parameter, under random cotangents (an all-ones cotangent cannot see a broken softmax).
//
// The memory that the op takes from the pool is filled with NaN beforehand, so that an element nobody wrote shows. The
// check is repeated with gradients added to noise, with inputs that want no gradient, and with frozen parameters.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "core/random.h"
#include "tests/support/tolerances.h"

namespace wt {

inline constexpr double kGradcheckStep = 1e-5;

// Normal numbers times `scale`, pushed away from zero by `gap` (for functions with a kink there).
inline Tensor random_tensor(const Shape& shape, std::uint64_t seed, double scale = 1, double gap = 0) {
  const Tensor out = Tensor::empty(Stream{}, shape, DType::kF64);
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 0));
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const double value = scale * random.normal();
    out.data<double>()[i] = value + (value < 0 ? -gap : gap);
  }
  return out;
}

inline void fill_with_nan(const Tensor& tensor) {
  std::memset(tensor.raw(), 0xff, tensor.bytes());  // all bits set: NaN in every floating dtype
}

// Fills the pool's free blocks of these tensors' sizes with NaN.
inline void poison_pool(const std::vector<Tensor>& like) {
  std::vector<Tensor> blocks;
  std::set<std::size_t> sizes;
  for (const Tensor& tensor : like) {
    if (!tensor.defined() || !sizes.insert(tensor.bytes()).second) continue;
    for (int i = 0; i < 4; ++i) {
      blocks.push_back(Tensor::empty(Stream{}, tensor.shape(), tensor.dtype()));
      fill_with_nan(blocks.back());
    }
  }
}

// What an op does where its input's gradient has had a contribution already.
enum class Contribution : std::uint8_t {
  kAdds,     // adds to it
  kRefuses,  // throws: the op must be its input's only consumer
  kInPlace,  // output and input are one Var, the question does not arise
};

struct GradcheckInput {
  Tensor value;
  Contribution contribution = Contribution::kAdds;
  int group = -1;  // inputs of one group (>= 0) want a gradient together or not at all
};

struct Gradcheck {
  using Op = std::function<std::vector<Var>(Context&, const std::vector<Var>&)>;

  std::vector<GradcheckInput> inputs = {};
  std::vector<Parameter*> parameters = {};
  Op op = {};  // given copies of the inputs; returns its differentiable outputs
  // What is differenced, where that is not `op` itself: the same function with values that carry no gradient frozen.
  Op reference = {};
  int lo = 0, hi = 1;
  bool training = false;
  std::uint64_t seed = 1;
};

// Difference of two gradient elements, relative where the second is large.
inline double gradient_error(double analytic, double numeric) {
  const double error = std::abs(analytic - numeric) / std::max(1.0, std::abs(numeric));
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

class GradcheckRun {
 public:
  explicit GradcheckRun(const Gradcheck& check) : check_(check) {
    for (const GradcheckInput& input : check.inputs) sizes_.push_back(input.value);
    for (const Parameter* parameter : check.parameters) sizes_.push_back(parameter->value());
    for (const Var& output : evaluate(check.op)) {
      cotangents_.push_back(random_tensor(output.value.shape(), check.seed * 1000 + cotangents_.size()));
      sizes_.push_back(output.value);
    }
  }

  double worst = 0;     // largest error against central differences
  int compared = 0;     // elements
  std::string failure;  // empty: all is well

  void run() {
    compare_outputs();
    const std::vector<bool> all(check_.inputs.size(), true);
    const Gradients base = analytic(all, false);
    for (std::size_t i = 0; i < check_.inputs.size(); ++i) {
      differentiate(check_.inputs[i].value, base.inputs[i], cat("input ", i));
    }
    for (std::size_t i = 0; i < check_.parameters.size(); ++i) {
      differentiate(check_.parameters[i]->value(), base.parameters[i], cat("parameter ", i));
    }
    if (!(worst < kGradcheck)) fail(cat("error ", worst, " at ", where_));
    compare(analytic(all, true), base, all, "added to noise");
    refuse();
    std::set<int> groups_done;
    for (std::size_t i = 0; i < check_.inputs.size(); ++i) {
      const int group = check_.inputs[i].group;
      if (check_.inputs[i].contribution == Contribution::kInPlace) continue;
      if (group >= 0 && !groups_done.insert(group).second) continue;
      std::vector<bool> wanted = all;
      for (std::size_t j = 0; j < wanted.size(); ++j) {
        if (j == i || (group >= 0 && check_.inputs[j].group == group)) wanted[j] = false;
      }
      compare(analytic(wanted, false), base, wanted, cat("without the gradient of input ", i));
    }
    for (std::size_t i = 0; i < check_.parameters.size(); ++i) {
      check_.parameters[i]->trainable = false;
      Gradients frozen = analytic(all, true);
      check_.parameters[i]->trainable = true;
      for (const double value : frozen.parameters[i].to_vector<double>()) {
        if (value != 0) fail(cat("frozen parameter ", i, " got a gradient"));
      }
      frozen.parameters[i] = base.parameters[i];
      compare(frozen, base, all, cat("with parameter ", i, " frozen"));
    }
  }

 private:
  struct Gradients {
    std::vector<Tensor> inputs, parameters;
  };

  void fail(const std::string& text) {
    if (failure.empty()) failure = text;
  }

  std::vector<Var> evaluate(const Gradcheck::Op& op) const {
    Context ctx{Stream{}, nullptr, check_.training, check_.lo, check_.hi};
    std::vector<Var> inputs;
    for (const GradcheckInput& input : check_.inputs) inputs.emplace_back(input.value.clone(Stream{}));
    poison_pool(sizes_);
    return op(ctx, inputs);
  }

  // Σ cotangent · output, of the function that is differenced.
  double objective() const {
    const std::vector<Var> outputs = evaluate(check_.reference ? check_.reference : check_.op);
    double sum = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      for (std::int64_t j = 0; j < outputs[i].value.numel(); ++j) {
        sum += cotangents_[i].data<double>()[j] * outputs[i].value.data<double>()[j];
      }
    }
    return sum;
  }

  void compare_outputs() {
    const std::vector<Var> ours = evaluate(check_.op);
    const std::vector<Var> reference = evaluate(check_.reference ? check_.reference : check_.op);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      for (std::int64_t j = 0; j < ours[i].value.numel(); ++j) {
        const double error = gradient_error(ours[i].value.data<double>()[j], reference[i].value.data<double>()[j]);
        if (!(error < kSameSums)) fail(cat("output ", i, ": element ", j, " differs from its reference by ", error));
      }
    }
  }

  Gradients analytic(const std::vector<bool>& wanted, bool noisy) const {
    WaveRecord record;
    Context ctx{Stream{}, &record, check_.training, check_.lo, check_.hi};
    std::vector<Var> inputs;
    std::vector<Tensor> noise;
    for (std::size_t i = 0; i < check_.inputs.size(); ++i) {
      const Tensor copy = check_.inputs[i].value.clone(Stream{});
      inputs.push_back(wanted[i] ? record.leaf(copy) : Var(copy));
      const bool adds = noisy && wanted[i] && check_.inputs[i].contribution == Contribution::kAdds;
      noise.push_back(adds ? random_tensor(copy.shape(), 77 + i) : Tensor{});
      if (adds) record.set_grad(inputs[i], noise[i].clone(Stream{}));
    }
    std::vector<Tensor> parameter_noise;
    for (std::size_t i = 0; i < check_.parameters.size(); ++i) {
      const Tensor& grad = check_.parameters[i]->grad();
      parameter_noise.push_back(random_tensor(grad.shape(), 177 + i, noisy ? 1 : 0));
      grad.copy_from(Stream{}, parameter_noise[i]);
    }
    poison_pool(sizes_);
    const std::vector<Var> outputs = check_.op(ctx, inputs);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].wants_grad()) record.set_grad(outputs[i], cotangents_[i].clone(Stream{}));
    }
    poison_pool(sizes_);
    record.backward(Stream{});
    Gradients result;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Tensor grad = record.grad(inputs[i]);
      result.inputs.push_back(grad.defined() ? grad.reshape(inputs[i].value.shape()).clone(Stream{})
                                             : Tensor::zeros(Stream{}, inputs[i].value.shape(), DType::kF64));
      if (noise[i].defined()) subtract(result.inputs[i], noise[i]);
    }
    for (std::size_t i = 0; i < check_.parameters.size(); ++i) {
      result.parameters.push_back(check_.parameters[i]->grad().clone(Stream{}));
      subtract(result.parameters[i], parameter_noise[i]);
    }
    return result;
  }

  static void subtract(const Tensor& from, const Tensor& what) {
    for (std::int64_t i = 0; i < from.numel(); ++i) from.data<double>()[i] -= what.data<double>()[i];
  }

  // Moves every element of `value` (memory that the function reads) and compares with `gradient`.
  void differentiate(const Tensor& value, const Tensor& gradient, const std::string& name) {
    for (std::int64_t i = 0; i < value.numel(); ++i) {
      double& x = value.data<double>()[i];
      const double middle = x;
      x = middle + kGradcheckStep;
      const double up = objective();
      x = middle - kGradcheckStep;
      const double down = objective();
      x = middle;
      const double error = gradient_error(gradient.data<double>()[i], (up - down) / (2 * kGradcheckStep));
      ++compared;
      if (error > worst) {
        worst = error;
        where_ = cat(name, ", element ", i);
      }
    }
  }

  void compare(const Gradients& a, const Gradients& b, const std::vector<bool>& wanted, const std::string& how) {
    const auto each = [&](const Tensor& left, const Tensor& right, const std::string& name) {
      for (std::int64_t i = 0; i < left.numel(); ++i) {
        const double error = gradient_error(left.data<double>()[i], right.data<double>()[i]);
        if (!(error < kSameSums)) fail(cat(how, ": ", name, ", element ", i, " differs by ", error));
      }
    };
    for (std::size_t i = 0; i < a.inputs.size(); ++i) {
      if (wanted[i]) each(a.inputs[i], b.inputs[i], cat("input ", i));
    }
    for (std::size_t i = 0; i < a.parameters.size(); ++i) each(a.parameters[i], b.parameters[i], cat("parameter ", i));
  }

  // Ops that cannot add to a gradient must say so.
  void refuse() {
    for (std::size_t i = 0; i < check_.inputs.size(); ++i) {
      if (check_.inputs[i].contribution != Contribution::kRefuses) continue;
      Gradcheck twice = check_;
      twice.inputs[i].contribution = Contribution::kAdds;
      GradcheckRun other(twice);
      try {
        other.analytic(std::vector<bool>(twice.inputs.size(), true), true);
        fail(cat("input ", i, ": a second contribution was accepted"));
      } catch (const Error& error) {
        if (std::string(error.what()).find("must not feed another op") == std::string::npos) throw;
      }
    }
  }

  Gradcheck check_;
  std::vector<Tensor> cotangents_;
  std::vector<Tensor> sizes_;
  std::string where_;
};

inline GradcheckRun run_gradcheck(const Gradcheck& check) {
  GradcheckRun run(check);
  run.run();
  return run;
}

// A parameter of random values for checks: `layers` 0 for one of the whole model.
inline Parameter random_parameter(std::int64_t layers, const Shape& shape, std::uint64_t seed, double scale = 1) {
  Parameter parameter({"test", all_layers(layers), shape, {{"test", 0, shape[0], Init::zeros()}}}, DType::kF64, false,
                      Stream{});
  parameter.value().copy_from(Stream{}, random_tensor(parameter.value().shape(), seed, scale));
  return parameter;
}

}  // namespace wt

// The check passes, and looked at something.
#define EXPECT_GRADIENTS(...)                                            \
  do {                                                                   \
    const ::wt::GradcheckRun wt_run_ = ::wt::run_gradcheck(__VA_ARGS__); \
    EXPECT_EQ(wt_run_.failure, "") << "largest error " << wt_run_.worst; \
    EXPECT_GT(wt_run_.compared, 0);                                      \
  } while (false)
