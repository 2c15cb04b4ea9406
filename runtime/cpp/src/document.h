// Reads a JSON file and checks the types of its fields; errors name the file and the field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"

namespace vlmprune {

// Says who is at fault for a wrong field: a bundle (exit code 1) or the request (2).
enum class Origin { bundle, request };

class Field;

// Returns a value as JSON, shortened for a message.
std::string short_repr(const nlohmann::json& value);

class Document {
 public:
  // Reads and parses the file; refuses more than 8 MiB, bytes that are no JSON object, and a field that occurs twice.
  Document(const std::filesystem::path& path, Origin origin);

  Field root() const;
  const std::string& text() const { return text_; }
  Error error(const std::string& reason, const std::string& field = "") const;

 private:
  std::string name_;
  Origin origin_;
  std::string text_;
  nlohmann::json root_;
};

// Holds one value of a document and its path there; it must not outlive the document.
class Field {
 public:
  Field(const Document& document, const nlohmann::json& value, std::string place);

  Field at(const std::string& name) const;
  // Returns nothing if the field is absent or null.
  std::optional<Field> find(const std::string& name) const;
  std::vector<Field> items() const;
  std::vector<std::pair<std::string, Field>> entries() const;

  bool is_text() const { return value_.is_string(); }
  std::string text() const;
  int64_t integer(int64_t least) const;
  double number() const;
  bool boolean() const;
  std::vector<int64_t> integers(int64_t least) const;
  std::vector<std::string> texts() const;
  const nlohmann::json& raw() const { return value_; }
  Error error(const std::string& reason) const { return document_.error(reason, place_); }

 private:
  void check_object() const;

  const Document& document_;
  const nlohmann::json& value_;
  std::string place_;
};

// Says whether a name is a plain file name, in a folder and in no other.
bool is_plain(const std::string& name);

// Returns a field's text. Throws the field's error if it is no plain file name.
std::string plain_name(const Field& field);

}  // namespace vlmprune
