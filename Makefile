PYTHON ?= python3
BIN := .venv/bin
RUN := runs/demo
FAST := $(wildcard tests/test_project.py tests/test_house.py) $(addprefix tests/,images data evaluation output)
PAPERMILL := $(BIN)/papermill -k python3 --cwd .
RECIPE := -f notebooks/recipes/base.yml -f notebooks/recipes

# Where `make reproduce TRAIN=1` finds the encoder's weights: "imagenet" downloads them; a path is a file, or the
# folder of a model whose encoder is copied.
ENCODER_WEIGHTS ?= imagenet

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help run test check lab reproduce notebooks readme benchmark clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(BIN)/.installed  ## run the notebooks on the sample data; results in runs/demo/
	@mkdir -p $(RUN)
	$(PAPERMILL) notebooks/01_explore.ipynb $(RUN)/01_explore.ipynb
	$(PAPERMILL) notebooks/02_train.ipynb $(RUN)/02_train.ipynb
	$(PAPERMILL) notebooks/03_evaluate.ipynb $(RUN)/03_evaluate.ipynb
	$(PAPERMILL) notebooks/04_segment.ipynb $(RUN)/04_segment.ipynb
	@echo "Done: executed notebooks in $(RUN)/, figures in $(RUN)/plot/."

test: $(BIN)/.installed  ## run all checks and tests, notebooks included, and report coverage (a quarter of an hour)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/codespell
	$(BIN)/python -m pytest --cov

check: $(BIN)/.installed  ## run the checks and the fast tests (one minute)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/codespell
	$(BIN)/python -m pytest -m "not slow" $(FAST)

lab: $(BIN)/.installed  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --ServerApp.root_dir=. notebooks/01_explore.ipynb

reproduce: $(BIN)/.installed  ## evaluate the shipped models again; TRAIN=1 first trains new ones in their place
	@mkdir -p runs/reproduce
	$(PAPERMILL) notebooks/01_explore.ipynb runs/reproduce/01_explore.ipynb -p data dsb2018 -p plot_folder plot
ifeq ($(TRAIN),1)
	$(BIN)/python -c "from nuclei.notebook import recipe; from nuclei import load_samples; load_samples(recipe('general')['data'])"
	$(PAPERMILL) notebooks/02_train.ipynb runs/reproduce/02_baseline.ipynb \
		$(RECIPE)/baseline.yml -p encoder_weights $(ENCODER_WEIGHTS) \
		-p model_folder saved_model/baseline -p plot_folder plot/baseline/training
	$(PAPERMILL) notebooks/02_train.ipynb runs/reproduce/02_dsb2018.ipynb \
		$(RECIPE)/dsb2018.yml -p encoder_weights $(ENCODER_WEIGHTS)
	$(PAPERMILL) notebooks/02_train.ipynb runs/reproduce/02_general.ipynb \
		$(RECIPE)/general.yml
	$(PAPERMILL) notebooks/02_train.ipynb runs/reproduce/02_general_longer.ipynb \
		$(RECIPE)/general.yml -f notebooks/recipes/general_longer.yml \
		-p model_folder saved_model/general -p plot_folder plot/training
endif
	$(PAPERMILL) notebooks/03_evaluate.ipynb runs/reproduce/03_baseline.ipynb -p data dsb2018 \
		-p model_folder saved_model/baseline -y "compare_folder: null" \
		-p plot_folder plot/baseline -p metrics_file plot/baseline/metrics.json
	$(PAPERMILL) notebooks/03_evaluate.ipynb runs/reproduce/03_general.ipynb -p data dsb2018 \
		-p model_folder saved_model/general -p compare_folder saved_model/baseline \
		-p plot_folder plot -p metrics_file plot/metrics.json

notebooks: $(BIN)/.installed  ## run the notebooks in place, with the outputs and figures that are committed
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb
	$(BIN)/python docs/tidy_notebooks.py notebooks/*.ipynb

readme: $(BIN)/.installed  ## fill the numbers and tables of the Markdown pages from the result files
	$(BIN)/python docs/make_tables.py

benchmark: $(BIN)/.installed  ## measure speed and memory, on a machine that does nothing else (twenty minutes)
	PYTHONPATH=data $(BIN)/python benchmarks/speed.py $(ONLY)

clean:  ## delete what runs wrote, and the cache
	rm -rf runs data/cache

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	@touch $@
