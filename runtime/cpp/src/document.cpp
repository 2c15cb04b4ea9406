#include "document.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>

namespace vlmprune {

using nlohmann::json;

namespace {

constexpr std::uintmax_t kMaxBytes = 8 << 20;

// Is a parser callback that remembers the names in every open object, to find a name that occurs twice.
class UniqueNames {
 public:
  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event == json::parse_event_t::key && !open_.back().insert(parsed.get<std::string>()).second) {
      throw std::invalid_argument("field " + short_repr(parsed) + " is there twice");
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> open_;
};

}  // namespace

std::string short_repr(const json& value) { return shorten(value.dump(-1, ' ', true, json::error_handler_t::replace)); }

Document::Document(const std::filesystem::path& path, Origin origin)
    : name_(origin == Origin::bundle ? path.filename().string() : path.string()), origin_(origin) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) throw error("is missing");
  if (std::filesystem::file_size(path, failure) > kMaxBytes) throw error("is larger than 8388608 bytes");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!(content << file.rdbuf())) throw error("cannot be read");
  text_ = content.str();
  UniqueNames names;
  try {
    root_ = json::parse(text_, std::ref(names));
  } catch (const json::parse_error& cause) {
    throw error("is not JSON, at byte " + std::to_string(cause.byte));
  } catch (const json::exception&) {
    throw error("is not JSON: a number is out of range");
  } catch (const std::invalid_argument& cause) {
    throw error(cause.what());
  }
  if (!root_.is_object()) throw error("is not a JSON object but " + short_repr(root_));
}

Field Document::root() const { return Field(*this, root_, ""); }

Error Document::error(const std::string& reason, const std::string& field) const {
  if (origin_ == Origin::bundle) return bundle_error(name_, reason, field);
  return bad_request(name_ + (field.empty() ? "" : ": " + field) + ": " + reason);
}

Field::Field(const Document& document, const json& value, std::string place)
    : document_(document), value_(value), place_(std::move(place)) {}

Field Field::at(const std::string& name) const {
  check_object();
  const std::string place = place_.empty() ? shorten(name) : place_ + "." + shorten(name);
  const auto found = value_.find(name);
  if (found == value_.end()) throw document_.error("is missing", place);
  return Field(document_, *found, place);
}

std::optional<Field> Field::find(const std::string& name) const {
  check_object();
  const auto found = value_.find(name);
  if (found == value_.end() || found->is_null()) return std::nullopt;
  return at(name);
}

std::vector<Field> Field::items() const {
  if (!value_.is_array()) throw error("should be a list, got " + short_repr(value_));
  std::vector<Field> found;
  for (size_t nth = 0; nth < value_.size(); ++nth) {
    found.emplace_back(document_, value_[nth], place_ + "." + std::to_string(nth));
  }
  return found;
}

std::vector<std::pair<std::string, Field>> Field::entries() const {
  check_object();
  std::vector<std::pair<std::string, Field>> found;
  for (const auto& entry : value_.items()) found.emplace_back(entry.key(), at(entry.key()));
  return found;
}

std::string Field::text() const {
  if (!value_.is_string()) throw error("should be a text, got " + short_repr(value_));
  return value_.get<std::string>();
}

int64_t Field::integer(int64_t least) const {
  if (!value_.is_number_integer()) throw error("should be a whole number, got " + short_repr(value_));
  const auto number = value_.get<int64_t>();
  if (number < least) throw error("should be " + std::to_string(least) + " or more, got " + short_repr(value_));
  return number;
}

double Field::number() const {
  if (!value_.is_number()) throw error("should be a number, got " + short_repr(value_));
  return value_.get<double>();
}

bool Field::boolean() const {
  if (!value_.is_boolean()) throw error("should be true or false, got " + short_repr(value_));
  return value_.get<bool>();
}

std::vector<int64_t> Field::integers(int64_t least) const {
  std::vector<int64_t> found;
  for (const Field& item : items()) found.push_back(item.integer(least));
  return found;
}

std::vector<std::string> Field::texts() const {
  std::vector<std::string> found;
  for (const Field& item : items()) found.push_back(item.text());
  return found;
}

void Field::check_object() const {
  if (!value_.is_object()) throw error("should be an object, got " + short_repr(value_));
}

bool is_plain(const std::string& name) {
  const auto allowed = [](unsigned char letter) {
    return std::isalnum(letter) || letter == '_' || letter == '.' || letter == '-';
  };
  return !name.empty() && name[0] != '.' && name[0] != '-' && name.find("..") == std::string::npos &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string plain_name(const Field& field) {
  const std::string name = field.text();
  if (!is_plain(name)) throw field.error(short_repr(field.raw()) + " is not a plain file name");
  return name;
}

}  // namespace vlmprune
