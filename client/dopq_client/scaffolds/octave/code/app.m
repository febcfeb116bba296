% Your program. It reads /input, which is input/ of the bundle, and writes what is to come back to /output.
numbers = dlmread('/input/numbers.csv', ',', 1, 0);
total = sum(numbers);

file = fopen('/output/total.txt', 'w');
fprintf(file, '%g\n', total);
fclose(file);
fprintf('The total is %g.\n', total);
