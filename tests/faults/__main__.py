"""`make faults`: many seeds at once, a table of figures at the end, and how to run again the seeds that failed.

make faults                     500 seeds
make faults SEEDS=20 SEED=340   seeds 340 to 359
python -m tests.faults --seed 340 --seeds 1 --keep    one seed; its logs stay in .faults/
"""

if __name__ == "__main__":
    from tests.faults.run import main

    main()
