#include "ModelFile.h"

#include <map>
#include <sstream>

namespace uncv {

const char *const promiseName = "uncv.txt";

namespace {

const std::string format = "uncv-torchscript";
const int version = 2;
const std::string again = "; write it again with: uncv export";

using Lines = std::map<std::string, std::string>;

Lines readLines(const std::string &text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    const auto space = line.find(' ');
    if (space != std::string::npos) {
      lines[line.substr(0, space)] = line.substr(space + 1);
    }
  }
  return lines;
}

std::string get(const Lines &lines, const std::string &key, const std::string &path) {
  const auto found = lines.find(key);
  if (found == lines.end()) {
    throw ModelError(path + " does not say its '" + key + "'" + again);
  }
  return found->second;
}

void expect(const Lines &lines, const std::string &key, const std::string &wanted,
            const std::string &path) {
  const auto found = get(lines, key, path);
  if (found != wanted) {
    throw ModelError(path + ": expected " + key + " " + wanted + ", found " + found + again);
  }
}

/// The value that a word stands for.
template <class T>
T choose(const Lines &lines, const std::string &key, const std::map<std::string, T> &known,
         const std::string &path) {
  const auto word = get(lines, key, path);
  const auto found = known.find(word);
  if (found != known.end()) {
    return found->second;
  }
  std::string names;
  for (const auto &entry : known) {
    names += (names.empty() ? "" : ", ") + entry.first;
  }
  throw ModelError(path + ": expected " + key + " to be one of " + names + ", found " + word +
                   again);
}

int wholeNumber(const Lines &lines, const std::string &key, const std::string &path) {
  const auto word = get(lines, key, path);
  std::istringstream stream(word);
  int value = 0;
  if (!(stream >> value) || !stream.eof()) {
    throw ModelError(path + ": expected " + key + " to be a whole number, found " + word + again);
  }
  return value;
}

void checkVersion(const Lines &lines, const std::string &path) {
  expect(lines, "format", format, path);
  const int found = wholeNumber(lines, "version", path);
  if (found == version) {
    return;
  }
  std::ostringstream message;
  message << path << " has format version " << found << "; expected " << version;
  message << (found < version ? again : "; build the plugin anew with: uncv plugin build");
  throw ModelError(message.str());
}

}  // namespace

Promise readPromise(const std::string &text, const std::string &path) {
  const auto lines = readLines(text);
  if (lines.empty()) {
    throw ModelError(path + " tells neither its units nor its atoms" + again);
  }
  checkVersion(lines, path);
  expect(lines, "positions_unit", "angstrom", path);
  expect(lines, "energy_unit", "eV", path);
  const int walkers = wholeNumber(lines, "walkers", path);
  if (walkers != 1) {
    throw ModelError(path + " holds " + std::to_string(walkers) +
                     " walkers in one module; expected 1" + again);
  }
  const std::map<std::string, bool> flags{{"true", true}, {"false", false}};
  Promise promise;
  promise.periodic = choose(lines, "periodic", flags, path);
  promise.perAtom = choose(lines, "per_atom", flags, path);
  promise.smooth = choose(lines, "smooth", flags, path);
  promise.kind = choose<Kind>(
      lines, "kind",
      {{"energy", Kind::energy}, {"force", Kind::force}, {"dimensionless", Kind::dimensionless}},
      path);
  promise.dtype = choose<std::string>(lines, "dtype",
                                      {{"float32", "float32"}, {"float64", "float64"}}, path);
  promise.fingerprint = get(lines, "fingerprint", path);
  std::istringstream numbers(get(lines, "numbers", path));
  for (int number; numbers >> number;) {
    promise.numbers.push_back(number);
  }
  if (promise.numbers.empty() || !numbers.eof()) {
    throw ModelError(path + ": expected numbers to be the atomic numbers, found " +
                     get(lines, "numbers", path) + again);
  }
  return promise;
}

void checkAtoms(const Promise &promise, const std::string &path, std::size_t atoms,
                const std::vector<int> &species) {
  const auto &numbers = promise.numbers;
  if (atoms != numbers.size()) {
    throw ModelError(path + " is for " + std::to_string(numbers.size()) + " atoms, ATOMS names " +
                     std::to_string(atoms) + "; name the atoms of the model, in its order");
  }
  if (!species.empty() && species.size() != atoms) {
    throw ModelError("ATOMS names " + std::to_string(atoms) + " atoms, SPECIES " +
                     std::to_string(species.size()) + "; give one atomic number for each atom");
  }
  for (std::size_t i = 0; i < species.size(); ++i) {
    if (species[i] != numbers[i]) {
      throw ModelError(path + ": atom " + std::to_string(i + 1) +
                       " of the model has atomic number " + std::to_string(numbers[i]) +
                       ", SPECIES says " + std::to_string(species[i]) +
                       "; name the atoms in the order of the model");
    }
  }
}

}  // namespace uncv
