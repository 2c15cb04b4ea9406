# Everything a newcomer needs: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLE := runtime/vlmprune_runtime/sample.jpg
BUNDLE := bundles/pocket-onnx

PYTHON_CODE := export runtime tools tests android_demo
EXECUTORCH_TESTS := tests/executorch tests/cpp
COREML_TESTS := tests/coreml tests/mil_reference
PYTEST ?=  # more options for pytest
COMPLETE ?=  # set to anything, a part that cannot be tested for want of a tool fails
UNTESTED = >&2 && $(if $(strip $(COMPLETE)),exit 1,true)

.PHONY: demo test test-executorch test-coreml test-rest test-jvm test-apple test-kotlin test-swift test-android test-pocket check-ios apk check format cpp-runner clean

demo: $(VENV)/export.stamp  ## export pocket, then answer a question about an image, pruned and unpruned
	test -e $(BUNDLE) || $(BIN)/vlmprune-export --target onnx --keep 64 --out $(BUNDLE)
	$(BIN)/vlmprune-run $(BUNDLE) --image $(SAMPLE) --prompt "Is the dog left of the bus?" --compare --overlay bundles/kept.png

test: $(VENV)/dev.stamp  ## all tests, two parts at a time, the long ones first
	$(MAKE) -j2 test-rest test-executorch test-coreml test-jvm test-apple

test-jvm:  ## the Kotlin runtime and the Android app
	$(MAKE) test-kotlin
	$(MAKE) test-android

test-apple:  ## the Swift runtime and the iOS app
	$(MAKE) test-swift
	$(MAKE) check-ios

test-executorch: $(VENV)/dev.stamp  ## ExecuTorch and the C++ runner
	$(BIN)/python -m pytest $(PYTEST) $(EXECUTORCH_TESTS)

test-coreml: $(VENV)/dev.stamp  ## Core ML and its reference
	$(BIN)/python -m pytest $(PYTEST) $(COREML_TESTS)

test-rest: $(VENV)/dev.stamp  ## everything else, and the examples in docstrings
	$(BIN)/python -m pytest $(PYTEST) --doctest-modules export runtime/vlmprune_runtime tools
	$(BIN)/python -m pytest $(PYTEST) $(EXECUTORCH_TESTS:%=--ignore=%) $(COREML_TESTS:%=--ignore=%)

test-kotlin:  ## the Kotlin runtime, on the JVM
	@if command -v mvn >/dev/null && command -v javac >/dev/null; then \
	  classes=$$($(PYTHON) android_demo/ci/executorch_classes.py) && \
	  mvn -q -B -Dstyle.color=never -f runtime/kotlin/pom.xml test $${classes:+-Dexecutorch.classes=$$classes} \
	  && $(PYTHON) runtime/kotlin/count_tests.py runtime/kotlin/target/surefire-reports && $(PYTHON) runtime/kotlin/arm64.py; \
	else echo 'NOT TESTED: the Kotlin runtime, for there is no Maven or no JDK of 17 or more; on Debian: apt install maven default-jdk' $(UNTESTED); fi

test-swift: $(VENV)/export.stamp  ## the Swift runtime, on Linux or a Mac
	@runtime/swift/test.sh || { test $$? = 3 && echo 'NOT TESTED: the Swift runtime, for no Swift of 6.0 or newer can be had here' $(UNTESTED); }

check-ios: $(VENV)/dev.stamp  ## the iOS app without a Mac: project, style, parse, and its model's tests
	$(BIN)/python -m pytest tests/ios
	@ios_demo/check.sh || { test $$? = 3 && echo 'NOT TESTED: the iOS app, for no Swift of 6.0 or newer can be had here' $(UNTESTED); }

test-android:  ## the Android app on the JVM, with real rendering and the real engine; prints where the screenshots are
	@if command -v mvn >/dev/null && command -v npm >/dev/null && command -v javac >/dev/null; then \
	  $(PYTHON) android_demo/ci/gradle_files.py && $(PYTHON) android_demo/ci/run_tests.py; \
	else echo 'NOT TESTED: the Android app, for there is no Maven, no npm or no JDK of 17 or more; on Debian: apt install maven npm default-jdk' $(UNTESTED); fi

test-pocket: demo $(VENV)/dev.stamp  ## the demo's bundle in Kotlin and Swift, behind their own tests: the answers of Python
	$(BIN)/python runtime/kotlin/compare.py $(BUNDLE)
	mkdir -p build && $(BIN)/python tests/runtime/write_cases.py build/pocket_cases.json $(BUNDLE)
	cd runtime/swift && VLMPRUNE_CASES=$(CURDIR)/build/pocket_cases.json ./toolchain.sh swift test --skip-build --filter answersAboutFurtherBundles

apk:  ## a signed APK and AAB of the Android app with both engines, checked; prints their paths
	@android_demo/build.sh

check: $(VENV)/dev.stamp  ## style, types, layering
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini tests
	$(BIN)/python -m pytest tests/test_layering.py

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix $(PYTHON_CODE)
	$(BIN)/ruff format $(PYTHON_CODE)

cpp-runner: $(VENV)/cpp.stamp  ## a runner without Python for ExecuTorch bundles; prints its path last
	@$(BIN)/python runtime/cpp/build_runner.py

clean:
	rm -rf build $(VENV) bundles

# uv installs the same packages from the same index as pip, in seconds instead of minutes.
$(VENV)/uv.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	touch $@

$(VENV)/export.stamp: pyproject.toml $(VENV)/uv.stamp
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[export]'
	touch $@

$(VENV)/cpp.stamp: pyproject.toml $(VENV)/uv.stamp
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[cpp]'
	touch $@ $(VENV)/export.stamp

$(VENV)/dev.stamp: pyproject.toml $(VENV)/uv.stamp
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	touch $@ $(VENV)/export.stamp
