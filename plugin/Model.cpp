#include "Model.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>
#include <torch/script.h>
#include <torch/version.h>

#include <cmath>
#include <cstring>
#include <fstream>

namespace uncv {

namespace {

/// Gradients of u below this part of the largest force are taken for zero, as in uncv.cv.
const double rounding = 1e-6;

const char *nameOf(Quantity quantity) {
  switch (quantity) {
  case Quantity::uncertainty:
    return "uncertainty";
  case Quantity::energy:
    return "energy";
  default:
    return "largest atomic uncertainty";
  }
}

torch::Device chooseDevice(const std::string &name) {
  if (name == "cpu") {
    return torch::kCPU;
  }
  if (name != "cuda") {
    throw ModelError("DEVICE=" + name + " is unknown; expected cpu or cuda");
  }
  if (!torch::cuda::is_available()) {
    throw ModelError("DEVICE=cuda: this libtorch (" TORCH_VERSION
                     ") finds no CUDA device; use DEVICE=cpu");
  }
  return torch::kCUDA;
}

/// What an exception says, without torch's trace of its own calls.
std::string reasonOf(const std::exception &error) {
  const auto *ofTorch = dynamic_cast<const c10::Error *>(&error);
  return ofTorch ? ofTorch->what_without_backtrace() : error.what();
}

/// Torch's settings that must not depend on the program around it.
struct Guards {
  // Operation by operation, as written: otherwise the first calls are profiled for seconds, and
  // derivatives round differently before and after.
  torch::jit::GraphOptimizerEnabledGuard plain{false};
  c10::InferenceMode noInference{false};
  torch::AutoGradMode gradients{true};
};

void copyOut(const torch::Tensor &from, double *to, std::size_t count) {
  const auto here = from.to(torch::kCPU).contiguous();
  std::memcpy(to, here.data_ptr<double>(), count * sizeof(double));
}

}  // namespace

struct Model::Loaded {
  std::string path;
  torch::Device device;
  Promise promise;
  torch::jit::Module module;
  bool checked = false;

  Loaded(const std::string &path, const std::string &name)
      : path(path), device(chooseDevice(name)) {
    if (!std::ifstream(path)) {
      throw ModelError("there is no file " + path +
                       "; expected one written by: uncv export CV --like STRUCTURE --out FILE");
    }
    torch::jit::ExtraFilesMap extra{{promiseName, ""}};
    try {
      module = torch::jit::load(path, torch::kCPU, extra);
    } catch (const std::exception &error) {
      throw ModelError(path + " is not a TorchScript file (" + reasonOf(error) +
                       "); expected one written by: uncv export");
    }
    promise = readPromise(extra.at(promiseName), path);
    module.eval();
    module.to(device);
  }

  Answer answer(Quantity quantity, const torch::Tensor &value,
                const std::vector<torch::Tensor> &leaves) const {
    Answer result;
    result.value = value.item<double>();
    if (!leaves.empty()) {
      checkSmooth(quantity);
      const auto slopes = slopesOf(quantity, value, leaves);
      result.byPositions.resize(3 * promise.numbers.size());
      copyOut(slopes[0], result.byPositions.data(), result.byPositions.size());
      if (leaves.size() > 1 && slopes[1].defined()) {
        copyOut(slopes[1], result.byCell.data(), result.byCell.size());
      }
    }
    checkFinite(quantity, result);
    return result;
  }

  std::vector<torch::Tensor> slopesOf(Quantity quantity, const torch::Tensor &value,
                                      const std::vector<torch::Tensor> &leaves) const {
    if (value.requires_grad()) {
      const auto slopes = torch::autograd::grad({value}, leaves, {}, true, false, true);
      if (slopes[0].defined()) {
        return slopes;
      }
    }
    throw ModelError(path + ": the " + nameOf(quantity) +
                     " does not depend on the positions, a bias on it would do nothing");
  }

  void checkSmooth(Quantity quantity) const {
    if (quantity == Quantity::uncertainty && !promise.smooth) {
      throw ModelError(path + ": the gradient of an uncertainty reduced by 'max' jumps; "
                              "bias by one reduced by 'softmax' or 'mean'");
    }
  }

  void checkFinite(Quantity quantity, const Answer &found) const {
    bool finite = std::isfinite(found.value);
    for (const double slope : found.byPositions) {
      finite = finite && std::isfinite(slope);
    }
    for (const double slope : found.byCell) {
      finite = finite && std::isfinite(slope);
    }
    if (!finite) {
      throw ModelError(path + ": the " + nameOf(quantity) +
                       " or a derivative of it is not finite (" + std::to_string(found.value) +
                       "); is the structure sound?");
    }
  }

  /// Refuse an uncertainty whose gradient is nothing but rounding while there are forces.
  void checkGradient(const torch::Tensor &energy, const torch::Tensor &uncertainty,
                     const std::vector<torch::Tensor> &leaves) {
    const auto force = slopesOf(Quantity::energy, energy, leaves)[0].abs().max().item<double>();
    const auto slope =
        slopesOf(Quantity::uncertainty, uncertainty, leaves)[0].abs().max().item<double>();
    if (force > rounding && slope <= rounding * force) {
      throw ModelError(path + ": the gradient of the uncertainty is zero on every atom, a bias "
                              "would do nothing; are all members of the ensemble the same?");
    }
    checked = true;
  }
};

Model::Model(const std::string &path, const std::string &device)
    : loaded(std::make_unique<Loaded>(path, device)) {}

Model::~Model() = default;

const Promise &Model::promise() const { return loaded->promise; }

const std::string &Model::path() const { return loaded->path; }

std::vector<Answer> Model::evaluate(const std::vector<Quantity> &asked,
                                    const std::vector<double> &positions,
                                    const std::array<double, 9> &cell, bool derivatives) {
  const Guards guards;
  const auto atoms = static_cast<std::int64_t>(loaded->promise.numbers.size());
  // The tensors look at the caller's numbers; nothing writes to them.
  const auto tensor = [&](const double *data, std::int64_t rows) {
    return torch::from_blob(const_cast<double *>(data), {1, rows, 3}, torch::kFloat64)
        .to(loaded->device)
        .requires_grad_(derivatives);
  };
  const auto x = tensor(positions.data(), atoms);
  const auto box = tensor(cell.data(), 3);
  std::vector<torch::Tensor> leaves;
  if (derivatives) {
    leaves.push_back(x);
    if (loaded->promise.periodic) {
      leaves.push_back(box);
    }
  }
  try {
    const auto out = loaded->module.run_method("evaluate", x, box).toTuple()->elements();
    const auto energy = out[0].toTensor(), uncertainty = out[1].toTensor();
    if (derivatives && !loaded->checked) {
      loaded->checkGradient(energy, uncertainty, leaves);
    }
    std::vector<Answer> answers;
    for (const auto quantity : asked) {
      const auto value = quantity == Quantity::uncertainty ? uncertainty
                         : quantity == Quantity::energy    ? energy
                                                           : out[2].toTensor().amax();
      answers.push_back(loaded->answer(quantity, value, leaves));
    }
    return answers;
  } catch (const ModelError &) {
    throw;
  } catch (const std::exception &error) {
    throw ModelError(loaded->path + " failed: " + reasonOf(error));
  }
}

void Model::setThreads(int threads) { at::set_num_threads(threads); }

}  // namespace uncv
