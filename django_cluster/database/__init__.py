"""What every user of a Django database connection shares: sessions, time-outs, errors, clocks."""
