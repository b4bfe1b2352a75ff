// The PLUMED action UNCERTAINTY.

#include "Model.h"
#include "Whole.h"

#include "config/Config.h"
#include "config/version.h"
#include "core/ActionRegister.h"
#include "core/Colvar.h"

#include <algorithm>
#include <limits>
#include <memory>

namespace uncv {

namespace {

const double evInKjPerMol = 96.48533212331;  // as in uncv.units
const double angstromInNm = 0.1;
const int unset = std::numeric_limits<int>::min();

/// PLUMED's C++ interface changes from version to version, and a plugin of another would crash.
void checkPlumed() {
  const auto running = PLMD::config::getVersionLong();
  plumed_massert(running == PLUMED_VERSION_LONG,
                 "the plugin was built for PLUMED " PLUMED_VERSION_LONG " and this is PLUMED " +
                     running + "; build it for this one: uncv plugin build --headers DIR");
}

/// Three numbers of a list of them.
template <class Numbers>
PLMD::Vector rowOf(const Numbers &numbers, unsigned row) {
  return {numbers[3 * row], numbers[3 * row + 1], numbers[3 * row + 2]};
}

}  // namespace

/// Uncertainty of a machine-learned potential, its energy, and the largest atomic uncertainty.
class UncertaintyAction : public PLMD::Colvar {
public:
  static void registerKeywords(PLMD::Keywords &keys);
  explicit UncertaintyAction(const PLMD::ActionOptions &options);
  void calculate() override;

private:
  std::unique_ptr<Model> model;
  std::vector<Quantity> asked;
  std::vector<double> units;  // of each value, in PLUMED's own
  double angstrom = 1.0;      // PLUMED's unit of length in Å
  bool pbc = true;

  void readModel();
  void readAtoms();
  void addValues();
  void add(Quantity quantity, const std::string &name);
  double unitOf(Quantity quantity) const;
  bool isTrialOfNoBox() const;
  std::vector<Answer> ask(const std::vector<PLMD::Vector> &positions);
  void set(unsigned index, const Answer &answer, const std::vector<PLMD::Vector> &positions);
};

PLUMED_REGISTER_ACTION(UncertaintyAction, "UNCERTAINTY")

void UncertaintyAction::registerKeywords(PLMD::Keywords &keys) {
  checkPlumed();
  Colvar::registerKeywords(keys);
  keys.add("compulsory", "MODEL", "TorchScript file written by uncv export");
  keys.add("atoms", "ATOMS", "the atoms of the model, in its order");
  keys.add("optional", "SPECIES", "atomic numbers of ATOMS, compared with those of the file");
  keys.add("compulsory", "DEVICE", "cpu", "where the model runs: cpu or cuda");
  keys.add("optional", "THREADS", "threads of torch in the whole process; by default its choice");
  keys.addFlag("ENERGY", false, "give the potential energy too; the values are then components");
  keys.addFlag("ATOMIC_MAX", false,
               "give the largest atomic uncertainty too; the values are then components");
  keys.setValueDescription("scalar", "the uncertainty");
  keys.addOutputComponent("u", "default", "scalar", "the uncertainty");
  keys.addOutputComponent("energy", "ENERGY", "scalar", "the potential energy");
  keys.addOutputComponent("max", "ATOMIC_MAX", "scalar", "the largest atomic uncertainty");
}

UncertaintyAction::UncertaintyAction(const PLMD::ActionOptions &options)
    : PLUMED_COLVAR_INIT(options) {
  bool nopbc = false;
  parseFlag("NOPBC", nopbc);
  pbc = !nopbc;
  try {
    readModel();
    readAtoms();
    addValues();
  } catch (const ModelError &problem) {
    error(problem.what());
  }
}

void UncertaintyAction::readModel() {
  std::string path, device;
  parse("MODEL", path);
  parse("DEVICE", device);
  int threads = unset;
  parse("THREADS", threads);
  if (threads < 1 && threads != unset) {
    error("THREADS=" + std::to_string(threads) + ": expected a positive number");
  }
  if (usingNaturalUnits()) {
    error("UNITS NATURAL gives no scale to convert eV and angstrom by; name the units instead");
  }
  if (threads != unset) {
    Model::setThreads(threads);
  }
  model = std::make_unique<Model>(path, device);
  angstrom = getUnits().getLength() / angstromInNm;
  const auto &promise = model->promise();
  if (promise.periodic && !pbc) {
    error(path + " is for a periodic system and needs the cell; leave NOPBC out");
  }
  log.printf("  model %s, potential %s, weights in %s, on %s\n", path.c_str(),
             promise.fingerprint.c_str(), promise.dtype.c_str(), device.c_str());
  log.printf(promise.periodic ? "  periodic in all directions\n"
             : pbc            ? "  a molecule, made whole where the box has broken it\n"
                              : "  a molecule, its coordinates taken as they are\n");
}

void UncertaintyAction::readAtoms() {
  std::vector<PLMD::AtomNumber> atoms;
  std::vector<int> species;
  parseAtomList("ATOMS", atoms);
  parseVector("SPECIES", species);
  checkAtoms(model->promise(), model->path(), atoms.size(), species);
  requestAtoms(atoms);
}

void UncertaintyAction::addValues() {
  bool energy = false, largest = false;
  parseFlag("ENERGY", energy);
  parseFlag("ATOMIC_MAX", largest);
  checkRead();
  if (largest && !model->promise().perAtom) {
    throw ModelError("ATOMIC_MAX: " + model->path() +
                     " gives one uncertainty for all atoms together; leave ATOMIC_MAX out");
  }
  if (!energy && !largest) {
    addValueWithDerivatives();
    setNotPeriodic();
    asked.push_back(Quantity::uncertainty);
    units.push_back(unitOf(Quantity::uncertainty));
    return;
  }
  add(Quantity::uncertainty, "u");
  if (energy) {
    add(Quantity::energy, "energy");
  }
  if (largest) {
    add(Quantity::largestAtomic, "max");
  }
}

void UncertaintyAction::add(Quantity quantity, const std::string &name) {
  addComponentWithDerivatives(name);
  componentIsNotPeriodic(name);
  asked.push_back(quantity);
  units.push_back(unitOf(quantity));
}

double UncertaintyAction::unitOf(Quantity quantity) const {
  const double energy = evInKjPerMol / getUnits().getEnergy();
  const auto kind = quantity == Quantity::energy ? Kind::energy : model->promise().kind;
  switch (kind) {
  case Kind::energy:
    return energy;
  case Kind::force:
    return energy * angstrom;
  default:
    return 1.0;
  }
}

/// PLUMED's numerical derivatives try a box where there is none, with all atoms in one place; what
/// is found there is multiplied by the box and of no consequence.
bool UncertaintyAction::isTrialOfNoBox() const {
  const auto &box = getBox();
  const double size =
      box.getRow(0).modulo2() + box.getRow(1).modulo2() + box.getRow(2).modulo2();
  const auto &x = getPositions();
  return !getPbc().isSet() && size > 0.0 && x.size() > 1 &&
         std::all_of(x.begin(), x.end(), [&](const PLMD::Vector &other) {
           return (other - x[0]).modulo2() == 0.0;
         });
}

void UncertaintyAction::calculate() {
  if (isTrialOfNoBox()) {
    return;
  }
  const bool molecule = !model->promise().periodic;
  const auto positions =
      molecule && pbc && getPbc().isSet() ? whole(getPositions(), getPbc()) : getPositions();
  const auto answers = ask(positions);
  for (unsigned i = 0; i < answers.size(); ++i) {
    set(i, answers[i], positions);
  }
}

std::vector<Answer> UncertaintyAction::ask(const std::vector<PLMD::Vector> &positions) {
  std::vector<double> x;
  x.reserve(3 * positions.size());
  for (const auto &position : positions) {
    for (unsigned k = 0; k < 3; ++k) {
      x.push_back(position[k] * angstrom);
    }
  }
  std::array<double, 9> cell{};
  if (model->promise().periodic) {
    plumed_massert(getPbc().isSet(), getLabel() + ": " + model->path() +
                                         " is for a periodic system, and the engine gives no box");
    for (unsigned i = 0; i < 9; ++i) {
      cell[i] = getBox()(i / 3, i % 3) * angstrom;
    }
  }
  const bool derivatives = !doNotCalculateDerivatives() && !checkNumericalDerivatives();
  try {
    return model->evaluate(asked, x, cell, derivatives);
  } catch (const ModelError &problem) {
    plumed_merror(getLabel() + " at step " + std::to_string(getStep()) + ": " + problem.what());
  }
}

void UncertaintyAction::set(unsigned index, const Answer &answer,
                            const std::vector<PLMD::Vector> &positions) {
  auto *value = getPntrToComponent(index);
  value->set(answer.value * units[index]);
  if (answer.byPositions.empty()) {
    return;
  }
  const double unit = units[index] * angstrom;
  PLMD::Tensor virial;  // minus the derivative by a strain of positions and box together
  for (unsigned i = 0; i < positions.size(); ++i) {
    const auto slope = unit * rowOf(answer.byPositions, i);
    setAtomsDerivatives(value, i, slope);
    virial -= PLMD::Tensor(positions[i], slope);
  }
  for (unsigned i = 0; i < 3; ++i) {
    virial -= PLMD::Tensor(getBox().getRow(i), unit * rowOf(answer.byCell, i));
  }
  setBoxDerivatives(value, virial);
}

}  // namespace uncv
