#!/usr/bin/env bash
# Tesseract reads made-up documents: COUNT of each type at 72, 150 and 300 DPI. Needs stopwatt on PATH and, on Debian,
# tesseract-ocr tesseract-ocr-kor fonts-nanum fonts-nanum-extra fonts-dejavu-core.
#   run.sh [COUNT] [FOLDER]
set -euo pipefail
count=${1:-50} folder=${2:-ocr-tesseract}
export OMP_THREAD_LIMIT=1 # one thread a page, so that times are of one core
stopwatt ocr gen --count "$count" --dpi 72,150,300 --seed 7 --out "$folder/data"
# Exit code 10: it fails its limits, as it should.
stopwatt ocr run --data "$folder/data" --exec 'tesseract {image} - -l kor+eng --psm 4' --concurrency 2 --out "$folder/read" || [ $? -eq 10 ]
